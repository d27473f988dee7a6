"""The state of the installation, for its operators."""
