"""The plain baseline: POST /generate as one would write it first.

A synchronous FastAPI handler, an ORM session per request, the signature made in the handler, an ORM object for each
license key, one commit. It uses hanaper's tables and is as durable; it validates less, logs nothing, and does not
verify what it signed. Run it with `uvicorn benchmarks.plain_server:app --workers 2` on an installation with demo data.
"""

import base64
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast
from uuid import uuid4

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from fastapi import Depends, FastAPI, Form, HTTPException
from sqlalchemy import create_engine, event, select
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.plain import KEY_VARIABLE
from hanaper.access import key_format
from hanaper.access.models import ApiKey
from hanaper.issuing.models import Batch, Generator
from hanaper.keystore import encryption
from hanaper.keystore import pepper as secret
from hanaper.licenses.models import LicenseKey
from hanaper.products.models import Product
from hanaper.settings import Settings
from hanaper.storage import sqlite
from hanaper.storage.transactions import Storage

_BUSY_TIMEOUT_S = 120
_CODE = 815
_MESSAGE = "Generated license keys"

settings = Settings()
with Storage.open(settings) as storage:
    pepper = storage.read(lambda session: secret.read(session, encryption.configured(settings)))
private_key = cast(
    "rsa.RSAPrivateKey", serialization.load_pem_private_key(Path(os.environ[KEY_VARIABLE]).read_bytes(), None)
)

engine = create_engine(
    settings.database,
    module=sqlite.library(),
    connect_args={"timeout": _BUSY_TIMEOUT_S},
    pool_timeout=_BUSY_TIMEOUT_S,
)
sessions = sessionmaker(engine)
app = FastAPI()


@event.listens_for(engine, "connect")
def durable(connection: Any, _record: object) -> None:
    """As durable as hanaper's own connections."""
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA journal_mode={sqlite.journal_mode(sqlite.library().sqlite_version_info)}")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def session() -> Iterator[Session]:
    """A session for a request."""
    with sessions() as opened:
        yield opened


@app.get("/readyz")
def readyz() -> str:
    """It is up."""
    return "ready"


@app.post("/api/v1/generate")
def generate(
    database: Annotated[Session, Depends(session)],
    api_key: Annotated[str, Form()],
    generator_id: Annotated[int, Form()],
    quantity: Annotated[int, Form(ge=1, le=1000)],
) -> dict[str, Any]:
    """Generate license keys."""
    digest = key_format.digest(pepper, api_key)
    caller = database.scalars(select(ApiKey).where(ApiKey.digest == digest, ApiKey.status == "active")).one_or_none()
    generator = database.get(Generator, generator_id)
    if caller is None or generator is None or generator.status != 1:
        raise HTTPException(404)
    product = database.get_one(Product, generator.product_id)
    now = datetime.now(UTC)
    license_keys = [str(uuid4()) for _ in range(quantity)]
    payload = {"code": _CODE, "message": _MESSAGE, "licenseKeys": license_keys, "timestamp": int(now.timestamp())}
    signed = base64.b64encode(json.dumps(payload, separators=(",", ":")).encode())
    signature = private_key.sign(signed, padding.PKCS1v15(), SHA256())
    batch = Batch(
        request_id=uuid4().hex,
        api_key_id=caller.id,
        product_id=product.id,
        generator_id=generator.id,
        quantity=quantity,
        signing_key_id=1,
        signed_at=payload["timestamp"],
        signature=signature,
        created_at=now,
    )
    database.add(batch)
    database.flush()
    database.add_all(
        LicenseKey(
            product_id=product.id,
            generator_id=generator.id,
            batch_id=batch.id,
            source="generator",
            license_key=license_key,
            activation_limit=generator.activation_limit,
            validity=generator.validity,
            status="available",
            created_at=now,
            updated_at=now,
        )
        for license_key in license_keys
    )
    database.commit()
    return {
        "response": payload,
        "response_base64": signed.decode(),
        "private_key_used": "product",
        "signature": base64.b64encode(signature).decode(),
    }
