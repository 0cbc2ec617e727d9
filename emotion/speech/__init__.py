"""From sound to utterances and to the features the recogniser reads."""
