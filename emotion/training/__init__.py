"""How the bundled models were trained: recipes as data, one loop, losses and augmentation."""
