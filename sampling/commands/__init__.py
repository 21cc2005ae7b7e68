"""The commands of `rlcode rollout` and `rlcode notebook`, and what they show."""
