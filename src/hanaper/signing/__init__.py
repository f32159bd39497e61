"""The signing service: key pairs, signer, verifier, keyring. Cryptography and nothing else."""
