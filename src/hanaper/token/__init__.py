"""Signing keys in a PKCS#11 token, such as an HSM. Only what `configured` brings in needs the library for it."""
