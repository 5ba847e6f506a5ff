"""Text and labelled tasks: where they come from, and how they are written down."""
