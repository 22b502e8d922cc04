"""One file an algorithm. Each picks its credit, surrogate, KL and reduction; none imports another."""
