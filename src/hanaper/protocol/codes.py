"""Every response code of the wire: number, message, signing key, HTTP status.

Source: protocol.md section 3 (numbers and messages as the reference system prints them, oddities included) and
section 1.6 (which key signs). Codes from 1700 up are hanaper's own, for what the reference leaves to its web
server; docs/errors.md lists them for callers.
"""

from dataclasses import dataclass
from enum import StrEnum


class SignedBy(StrEnum):
    """The key pair an answer asks for; also the value of `private_key_used`."""

    PRODUCT = "product"
    GLOBAL = "global"


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table.

    Attributes:
        number: the code as an integer.
        message: the text that goes out beside it, verbatim.
        signed_by: the key pair that signs; PRODUCT falls back to GLOBAL where no product key is known.
        http_status: 200 for every logical outcome (protocol.md 1.7).
    """

    number: int
    message: str
    signed_by: SignedBy
    http_status: int = 200

    @property
    def on_wire(self) -> int | str:
        """The value of `code`: an integer, save 400, which the reference sends as text (protocol.md 1.2)."""
        return "400" if self.number == LICENSE_DEACTIVATED.number else self.number


INVALID_API_KEY = Code(100, "Invalid API Key", SignedBy.GLOBAL, 401)
INACTIVE_API_KEY = Code(101, "Inactive API Key", SignedBy.GLOBAL, 401)
INSUFFICIENT_PERMISSIONS = Code(
    102, "The used API key doesn't have the required capability to access this endpoint", SignedBy.GLOBAL, 401
)
IP_NOT_ALLOWED = Code(103, "API key can't be used from this IP address", SignedBy.GLOBAL, 401)
ACCESS_DENIED = Code(150, "Access denied", SignedBy.GLOBAL, 403)
VALID_LICENSE_KEY = Code(200, "Valid license key", SignedBy.PRODUCT)
LICENSE_NOT_ASSIGNED = Code(201, "This license key is not assigned", SignedBy.PRODUCT)
NO_ACTIVATION_FOUND = Code(202, "No activation found for this license key/identifier combination", SignedBy.PRODUCT)
PRODUCT_INACTIVE = Code(
    203, "The product associated with this license key is not active or doesn't exist", SignedBy.PRODUCT
)
LICENSE_BLOCKED = Code(204, "License key blocked", SignedBy.PRODUCT)
LICENSE_EXPIRED = Code(205, "License key expired", SignedBy.PRODUCT)
ENVATO_PURCHASE_CODE_ADDED = Code(206, "Envato purchase code added", SignedBy.PRODUCT)
INVALID_LICENSE_KEY = Code(210, "Invalid license key", SignedBy.GLOBAL)
IDENTIFIER_REQUIRED = Code(215, "Identifier is required", SignedBy.PRODUCT)
META_KEY_REQUIRED_DELETE = Code(250, "Meta key is required", SignedBy.PRODUCT)
META_KEY_NOT_EXISTS_DELETE = Code(251, "Meta key doesn't exist", SignedBy.PRODUCT)
METADATA_DELETED = Code(252, "Metadata deleted", SignedBy.PRODUCT)
PRODUCT_META_KEY_REQUIRED_CREATE = Code(270, "Meta key is required", SignedBy.PRODUCT)
PRODUCT_META_VALUE_REQUIRED_CREATE = Code(271, "Meta value is required", SignedBy.PRODUCT)
PRODUCT_META_KEY_ALREADY_EXISTS = Code(272, "Meta key already exists", SignedBy.PRODUCT)
PRODUCT_META_CREATED = Code(273, "Product meta created", SignedBy.PRODUCT)
PRODUCT_NOT_FOUND_META_CREATE = Code(274, "Product not found", SignedBy.GLOBAL)
LICENSE_ACTIVATED = Code(300, "License key activated", SignedBy.PRODUCT)
LICENSE_ALREADY_ACTIVE = Code(301, "License key already active", SignedBy.PRODUCT)
ACTIVATION_LIMIT_REACHED = Code(302, "License key reached activation limit", SignedBy.PRODUCT)
META_KEY_REQUIRED_UPDATE = Code(350, "Meta key is required", SignedBy.PRODUCT)
META_VALUE_REQUIRED_UPDATE = Code(351, "Meta value is required", SignedBy.PRODUCT)
META_KEY_NOT_EXISTS_UPDATE = Code(352, "Meta key doesn't exist", SignedBy.PRODUCT)
METADATA_UPDATED = Code(353, "Metadata updated", SignedBy.PRODUCT)
PRODUCT_META_KEY_REQUIRED_UPDATE = Code(370, "Meta key is required", SignedBy.PRODUCT)
PRODUCT_META_VALUE_REQUIRED_UPDATE = Code(371, "Meta value is required", SignedBy.PRODUCT)
PRODUCT_META_KEY_NOT_EXISTS_UPDATE = Code(372, "Meta key doesn't exists", SignedBy.PRODUCT)
PRODUCT_META_UPDATED = Code(373, "Product meta updated", SignedBy.PRODUCT)
PRODUCT_NOT_FOUND_META_UPDATE = Code(374, "Product not found", SignedBy.GLOBAL)
LICENSE_DEACTIVATED = Code(400, "License key deactivated", SignedBy.GLOBAL)
LICENSE_ALREADY_INACTIVE = Code(401, "License key already inactive", SignedBy.PRODUCT)
META_KEY_REQUIRED_CREATE = Code(450, "Meta key is required", SignedBy.PRODUCT)
META_VALUE_REQUIRED_CREATE = Code(451, "Meta value is required", SignedBy.PRODUCT)
META_KEY_ALREADY_EXISTS_CREATE = Code(452, "Meta key already exists", SignedBy.PRODUCT)
METADATA_CREATED = Code(453, "Metadata created", SignedBy.PRODUCT)
PRODUCT_META_KEY_REQUIRED_DELETE = Code(480, "Meta key is required", SignedBy.PRODUCT)
PRODUCT_META_KEY_NOT_EXISTS_DELETE = Code(481, "Meta key doesn't exist", SignedBy.PRODUCT)
PRODUCT_META_DELETED = Code(482, "Product meta deleted", SignedBy.PRODUCT)
PRODUCT_NOT_FOUND_META_DELETE = Code(483, "Product not found", SignedBy.GLOBAL)
ACTIVE_LICENSE_FOUND = Code(500, "Active license key found", SignedBy.PRODUCT)
LICENSE_KEY_NOT_FOUND_DETAILS = Code(501, "License key not found", SignedBy.GLOBAL)
LICENSE_FILE_RETRIEVED = Code(502, "License file retrieved successfully", SignedBy.PRODUCT)
LICENSE_FILE_GENERATION_FAILED = Code(503, "Failed to generate license file", SignedBy.PRODUCT)
PRODUCT_DELETED = Code(550, "Product deleted", SignedBy.GLOBAL)
PRODUCT_NOT_FOUND = Code(551, "Product not found", SignedBy.GLOBAL)
DOWNLOADS = Code(600, "Downloads", SignedBy.PRODUCT)
PRODUCT_FOUND = Code(631, "Product information retrieved successfully", SignedBy.GLOBAL)
PRODUCT_PUBLIC_KEY_FOUND = Code(632, "Public key retrieved successfully", SignedBy.GLOBAL)
PRODUCT_PUBLIC_KEY_NOT_FOUND = Code(633, "Public key not available for product", SignedBy.GLOBAL)
PRODUCT_UPDATED = Code(650, "Product updated", SignedBy.GLOBAL)
INCORRECT_DATA_PRODUCT_UPDATE = Code(651, "Incorrect data found", SignedBy.GLOBAL)
FILE_NOT_EXISTS = Code(700, "The request file doesn't exist", SignedBy.PRODUCT, 404)
NO_PERMISSION_FILE = Code(701, "You don't have permission to access it", SignedBy.PRODUCT, 403)
LICENSE_KEYS_LIST = Code(730, "License keys", SignedBy.GLOBAL)
PRODUCT_NOT_EXISTS_COUNT = Code(740, "Product doesn't exist", SignedBy.GLOBAL)
AVAILABLE_LICENSE_KEYS_COUNT = Code(741, "Available license keys count", SignedBy.GLOBAL)
PRODUCT_CREATED = Code(750, "Product created", SignedBy.GLOBAL)
INCORRECT_DATA_PRODUCT_CREATE = Code(751, "Incorrect data found", SignedBy.GLOBAL)
LICENSE_KEY_ASSIGNED = Code(800, "License key assigned", SignedBy.GLOBAL)
INVALID_OR_ALREADY_ASSIGNED = Code(801, "Invalid or already assigned license key", SignedBy.GLOBAL)
INSUFFICIENT_LICENSE_KEYS = Code(802, "Insufficient license keys", SignedBy.GLOBAL)
LICENSE_KEYS_ASSIGNED = Code(803, "License keys assigned", SignedBy.GLOBAL)
PRODUCT_NOT_FOUND_ASSIGN = Code(805, "Product not found", SignedBy.GLOBAL)
GENERATOR_NOT_FOUND_ASSIGN = Code(806, "Generator not found", SignedBy.GLOBAL)
REQUEST_QUEUED = Code(807, "Request Queued", SignedBy.GLOBAL)
ALL_PRODUCTS = Code(810, "All products", SignedBy.GLOBAL)
GENERATED_LICENSE_KEYS = Code(815, "Generated license keys", SignedBy.PRODUCT)
ALL_GENERATORS = Code(820, "All generators", SignedBy.GLOBAL)
INCORRECT_DATA_CONTRACT = Code(825, "Incorrect data found", SignedBy.GLOBAL)
CORRECT_FORMAT_TELEMETRY_SAVED = Code(830, "Correct format data saved", SignedBy.GLOBAL)
INCORRECT_FORMAT_TELEMETRY_SAVED = Code(831, "Incorrect format data saved", SignedBy.GLOBAL)
CONTRACT_CREATED = Code(841, "contract created", SignedBy.GLOBAL)
CONTRACT_UPDATED = Code(842, "contract updated", SignedBy.GLOBAL)
CONTRACT_DELETED = Code(843, "contract deleted", SignedBy.GLOBAL)
CONTRACT_NOT_FOUND = Code(844, "Contract not found", SignedBy.GLOBAL)
ALL_CONTRACTS = Code(846, "All contracts", SignedBy.GLOBAL)
LICENSE_KEY_DELETED = Code(850, "License key deleted", SignedBy.PRODUCT)
LICENSE_KEY_NOT_FOUND = Code(851, "License key not found", SignedBy.GLOBAL)
LICENSE_KEYS_CREATION_RESULT = Code(900, "License keys creation result", SignedBy.PRODUCT)
INCORRECT_DATA_LICENSE_CREATE = Code(901, "Incorrect data found", SignedBy.GLOBAL)
NO_LICENSE_KEYS_CREATED = Code(902, "No license keys created", SignedBy.PRODUCT)
LICENSE_KEY_UPDATED = Code(950, "License keys updated", SignedBy.PRODUCT)
INCORRECT_DATA_LICENSE_UPDATE = Code(951, "Incorrect data found", SignedBy.GLOBAL)
LICENSE_KEY_NOT_FOUND_UPDATE = Code(952, "License key not found", SignedBy.GLOBAL)
TELEMETRY_DATA_FOUND = Code(970, "Telemetry data found", SignedBy.GLOBAL)
CONTRACT_NOT_FOUND_INFO = Code(1200, "Contract not found", SignedBy.GLOBAL)
CONTRACT_PRODUCT_NOT_FOUND = Code(1202, "Product not found", SignedBy.GLOBAL)
CONTRACT_GENERATOR_NOT_FOUND = Code(1203, "Generator not found", SignedBy.GLOBAL)
CONTRACT_FOUND = Code(1204, "Contract found", SignedBy.GLOBAL)
LICENSE_KEYS_LIMIT_REACHED = Code(1205, "License keys limit reached", SignedBy.GLOBAL)
CANNOT_GENERATE_QUANTITY = Code(1206, "Cannot generate this quantity", SignedBy.GLOBAL)
CONTRACT_LICENSE_KEYS_GENERATED = Code(1300, "Contract license keys generated", SignedBy.GLOBAL)
CONTRACT_LICENSE_KEY_DELETED = Code(1400, "License key deleted", SignedBy.GLOBAL)
CONTRACT_LICENSE_KEY_NOT_FOUND = Code(1401, "License key not found", SignedBy.GLOBAL)
CONTRACT_LICENSE_KEYS_DELETED = Code(1500, "License keys deleted", SignedBy.GLOBAL)
CONTRACT_NO_LICENSE_KEYS_FOUND = Code(1501, "No license keys found", SignedBy.GLOBAL)
CHANGELOG_RETRIEVED = Code(1600, "Changelog retrieved successfully", SignedBy.GLOBAL)
CHANGELOG_DISABLED_GLOBALLY = Code(1601, "Changelog feature is disabled globally", SignedBy.GLOBAL)
CHANGELOG_DISABLED_FOR_PRODUCT = Code(1602, "Changelog not enabled for this product", SignedBy.GLOBAL)

# hanaper's own: what never reaches an endpoint's logic. Each is signed with the global key.
UNKNOWN_ENDPOINT = Code(1700, "Unknown endpoint", SignedBy.GLOBAL, 404)
METHOD_NOT_ALLOWED = Code(1701, "Method not allowed", SignedBy.GLOBAL, 405)
BODY_TOO_LARGE = Code(1702, "Request body too large", SignedBy.GLOBAL, 413)
UNREADABLE_BODY = Code(1703, "Unreadable request", SignedBy.GLOBAL, 400)
UNSUPPORTED_CONTENT_TYPE = Code(1704, "Unsupported content type", SignedBy.GLOBAL, 415)
SERVICE_UNAVAILABLE = Code(1705, "Service temporarily unavailable", SignedBy.GLOBAL, 503)
INTERNAL_ERROR = Code(1706, "Internal error", SignedBy.GLOBAL, 500)
UNKNOWN_HOST = Code(1707, "Unknown host", SignedBy.GLOBAL, 421)

FIRST_OWN_NUMBER = 1700

BY_NUMBER: dict[int, Code] = {code.number: code for code in list(globals().values()) if isinstance(code, Code)}
