"""Our own PostgreSQL and Valkey, for the demo, development and tests: started on first use, shared, never orphaned.

One small supervisor process per server. Every process that uses a server holds a shared lock on a file; the
kernel drops the lock when that process ends, however it ends, and the supervisor stops its server once nobody
holds it. The server dies with its supervisor (a signal from the kernel), so nothing can be left behind.
"""

from offerhub.runtime.embedded.place import DATA_DIR_DEFAULT, EmbeddedServicesError
from offerhub.runtime.embedded.service import ServiceUrls, embedded_services

__all__ = ["DATA_DIR_DEFAULT", "EmbeddedServicesError", "ServiceUrls", "embedded_services"]
