"""What a few seeds and a finite validation set allow one to say: docs/methods.md, section Statistics."""
