"""From what the operator configured to what the management API needs of it."""

from tapir.app.config import Config
from tapir.services.control.api import ApiSettings
from tapir.services.control.api_desk import ApiKey
from tapir.services.control.api_listeners import Endpoint, TlsFiles


def api_settings(config: Config) -> ApiSettings:
    """The settings of the management API, which may have nothing to listen on."""
    api = config.api
    if api is None:
        return ApiSettings(key=ApiKey(""), endpoints=())
    endpoints = (
        (api.addresses, "api", False),
        (api.tls_addresses, "api", True),
        (api.bootstrap_addresses, "bootstrap", False),
        (api.bootstrap_tls_addresses, "bootstrap", True),
    )
    tls = None
    if api.certificate is not None and api.certificate_key is not None:
        tls = TlsFiles(certificate=api.certificate, key=api.certificate_key, client_ca=api.client_ca)
    return ApiSettings(
        key=ApiKey(api.key),
        endpoints=tuple(
            Endpoint(host=address.host, port=address.port, surface=surface, tls=secured)
            for addresses, surface, secured in endpoints
            for address in addresses
        ),
        tls=tls,
    )
