"""How sure a figure is: intervals and paired tests over problems and seeds. Randomness is always an argument."""
