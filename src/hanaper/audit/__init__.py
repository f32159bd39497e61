"""Who changed what, and when: written with each effect, sealed into a chain that shows what was changed afterwards."""
