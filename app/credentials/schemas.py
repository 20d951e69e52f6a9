"""Credentials as clients send them, and what clients see of them: never the secret."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from app.schemas import Input, Name, Page

MAX_SECRET_BYTES = 1024


def _storable(secret: SecretStr) -> SecretStr:
    try:
        size = len(secret.get_secret_value().encode())
    except UnicodeEncodeError:
        msg = "is not text"
        raise ValueError(msg) from None
    if size > MAX_SECRET_BYTES:
        msg = f"is longer than {MAX_SECRET_BYTES} bytes"
        raise ValueError(msg)
    return secret


FieldName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=MAX_SECRET_BYTES), AfterValidator(_storable)]


class CredentialsPut(Input):
    """What lets the customer in."""

    fields: Annotated[
        dict[FieldName, Secret],
        Field(min_length=1, max_length=10, description="By the names that the provider's adapter knows."),
    ]
    customer_ref: Name | None = Field(None, description="May be left out by a customer with a token.")

    def plain(self) -> dict[str, str]:
        """The secrets as they are, on their way into the encryption."""
        return {name: secret.get_secret_value() for name, secret in self.fields.items()}


class CredentialsFilters(BaseModel):
    """Which credentials to list: those that pass every given filter."""

    customer_ref: Name | None = Field(None, description="A customer with a token sees own ones whatever it says.")
    provider: Name | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class CredentialsState(BaseModel):
    """That a customer has credentials at a provider, and whether these let the customer in."""

    provider: str
    customer_ref: str | None
    status: Literal["unchecked", "valid", "invalid"] = Field(
        description="`unchecked` until the provider has said whether they let the customer in."
    )
    checked_at: datetime | None
    check_detail: str | None = Field(description="What the provider said, for a person.")
    created_at: datetime
    updated_at: datetime


class CredentialsPage(Page):
    """One page of credentials, in order of creation."""

    items: list[CredentialsState]
