"""The database: engine, transactions, declarative base, migrations."""
