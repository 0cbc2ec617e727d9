"""The recognition systems of the papers, one readable file each."""
