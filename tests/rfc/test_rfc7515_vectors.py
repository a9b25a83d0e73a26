"""Signatures of the standards' own examples: RFC 7515 appendix A.3 (ES256) and RFC 8037 appendix A.4 (Ed25519).

Neither has a `typ` or a `kid`, so as whole tokens they are refused here; their signatures are good all the same.
"""

import pytest

from mtls_as.rfc.rfc4648_base64url import decode_base64url
from mtls_as.rfc.rfc7517_jwk import JWKSet, parse_jwks
from mtls_as.rfc.rfc7519_jwt import MalformedJWTError, is_signature, verify

ES256_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
ES256_TOKEN = (
    "eyJhbGciOiJFUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
EDDSA_KEY = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
EDDSA_TOKEN = (
    "eyJhbGciOiJFZERTQSJ9"
    ".RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    ".hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)
VECTORS = [("ES256", ES256_KEY, ES256_TOKEN), ("EdDSA", EDDSA_KEY, EDDSA_TOKEN)]


def keys_of(jwk: dict[str, str]) -> JWKSet:
    return parse_jwks({"keys": [jwk]})


@pytest.mark.parametrize(("algorithm", "jwk", "token"), VECTORS)
def test_the_signature_is_good(algorithm: str, jwk: dict[str, str], token: str) -> None:
    """And is of these very octets."""
    signed, _, encoded = token.rpartition(".")
    (key,) = keys_of(jwk).keys
    signature = decode_base64url(encoded)
    assert is_signature(signed.encode(), signature, algorithm=algorithm, public_key=key.public_key)
    assert not is_signature(signed.encode() + b"x", signature, algorithm=algorithm, public_key=key.public_key)


@pytest.mark.parametrize(("algorithm", "jwk", "token"), VECTORS)
def test_the_token_is_not(algorithm: str, jwk: dict[str, str], token: str) -> None:
    """Tokens without `typ` and `kid` are for nobody here (RFC 8725 §3.11)."""
    with pytest.raises(MalformedJWTError):
        verify(token, keys_of(jwk), type="at+jwt", algorithms=[algorithm])
