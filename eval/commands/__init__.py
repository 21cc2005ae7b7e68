"""The commands of this room beside `rlcode eval`, a module each."""
