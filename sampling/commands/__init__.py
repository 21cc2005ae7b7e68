"""The commands of `rlcode rollout`, and what they show."""
