"""The register of license keys and the formats they are drawn in."""
