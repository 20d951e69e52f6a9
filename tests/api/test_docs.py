"""The API describes itself, from this server alone."""

import re

import httpx2
import pytest

PAGES = ["/docs", "/docs/oauth2-redirect"]


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_names_no_other_host(public: httpx2.AsyncClient, page: str) -> None:
    answer = await public.get(page)

    assert answer.status_code == 200
    assert not re.findall(r"(?:https?:)?//[\w.-]+\.\w+", answer.text)


async def test_every_asset_of_the_docs_is_served_by_us(public: httpx2.AsyncClient) -> None:
    page = (await public.get("/docs")).text
    assets = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page)
    assert {asset.rpartition(".")[2] for asset in assets} >= {"js", "css"}

    for asset in assets:
        answer = await public.get(asset)
        assert (answer.status_code, len(answer.content) > 100) == (200, True), asset


async def test_every_operation_has_an_id_of_its_own_and_a_summary(public: httpx2.AsyncClient) -> None:
    answer = await public.get("/openapi.json")

    operations = [operation for methods in answer.json()["paths"].values() for operation in methods.values()]
    ids = [operation["operationId"] for operation in operations]
    assert answer.status_code == 200
    assert len(ids) == len(set(ids)) > 10
    assert all(operation["summary"] and operation["tags"] for operation in operations)
