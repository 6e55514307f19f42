"""Commands of a person who looks before they act: reads the ETag and sends it with the change."""

from typing import Any

from casebook.console.client import Client


class Etags:
    """Sends commands with the ETag that the resource has at the moment."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def post(self, path: str, body: Any) -> Any:
        """Create something; no ETag is needed."""
        return await self._client.post(path, body)

    async def put(self, resource: str, path: str, body: Any) -> Any:
        """Change a resource by a sub-resource."""
        return await self._client.put(
            f"{resource}{path}", body, if_match=await self._client.etag(resource)
        )

    async def post_to(self, resource: str, path: str, body: Any) -> Any:
        """Change a resource by adding to it."""
        return await self._client.post(
            f"{resource}{path}", body, if_match=await self._client.etag(resource)
        )
