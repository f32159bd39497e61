"""All tables, for Alembic and for tests."""

from hanaper.access import models as access
from hanaper.audit import models as audit
from hanaper.idempotency import models as idempotency
from hanaper.issuing import models as issuing
from hanaper.keystore import models as keystore
from hanaper.licenses import models as licenses
from hanaper.limiting import models as limiting
from hanaper.outbound import models as outbound
from hanaper.products import models as products
from hanaper.storage import configuration
from hanaper.storage.base import Base

MODULES = (configuration, keystore, access, audit, outbound, idempotency, limiting, products, licenses, issuing)

metadata = Base.metadata
