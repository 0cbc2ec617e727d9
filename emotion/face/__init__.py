"""From a frame to face crops framed as the recogniser was trained: detect, track, align."""
