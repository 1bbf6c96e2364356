"""The procedures test.mm.*, with which a test looks into the market maker and manipulates it."""

import inspect
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from channel import CLOSED, KINDS, Channel, uint
from common import xbr

from autobahn.twisted.util import sleep
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import RegisterOptions

if TYPE_CHECKING:
    from market_maker import MarketMaker


def describe(channel: Channel) -> dict:
    return {
        "channel_oid": channel.oid,
        "delegate": channel.delegate,
        "state": channel.state,
        "seq": channel.seq,
        "amount": xbr.pack_uint256(channel.amount),
        "remaining": xbr.pack_uint256(channel.remaining),
        "inflight": xbr.pack_uint256(channel.inflight),
    }


class Control:
    PROCEDURES = ("offers", "channels", "set_channel", "raw_sell", "raw_close", "fail_next", "delay_next", "set_fix_close")

    def __init__(self, maker: "MarketMaker") -> None:
        self.maker = maker
        self.failures: dict[str, deque] = defaultdict(deque)
        self.delays: dict[str, deque] = defaultdict(deque)

    async def register(self, name: str) -> None:
        """Register xbr.marketmaker.<name>, with the failures and delays that a test orders."""
        procedure = getattr(self.maker, name)
        wants_details = "details" in inspect.signature(procedure).parameters
        procedure = self.maker.session.type_check(procedure)

        async def call(*args: Any, details: Any, **kwargs: Any) -> Any:
            if self.delays[name]:
                await sleep(self.delays[name].popleft())
            error, after = self.failures[name].popleft() if self.failures[name] else (None, False)
            if error and not after:
                raise ApplicationError(error, f"{name} fails on request")
            if wants_details:
                kwargs["details"] = details
            result = await procedure(*args, **kwargs)
            if error:
                raise ApplicationError(error, f"{name} is done, but fails on request")
            return result

        await self.maker.session.register(
            call, f"xbr.marketmaker.{name}", options=RegisterOptions(details_arg="details")
        )

    def offers(self, delegate: bytes) -> list[dict]:
        """The offers of this seller, oldest first."""
        return [offer for offer in self.maker.offers.values() if offer["seller"] == delegate]

    def channels(self, kind: str, delegate: bytes) -> list[dict]:
        """The channels of this delegate, oldest first; `kind` is "paying" or "payment"."""
        return [describe(c) for c in self.maker.channels if (c.kind, c.delegate) == (KINDS[kind], delegate)]

    def set_channel(
        self,
        kind: str,
        delegate: bytes,
        remaining: bytes | None = None,
        seq: int | None = None,
        fresh: bool = False,
    ) -> dict:
        """Change the delegate's newest channel, or open a fresh one and close the others.

        A fresh channel is opened with `remaining` (32 bytes) as its amount.
        """
        mine = [c for c in self.maker.channels if (c.kind, c.delegate) == (KINDS[kind], delegate)]
        if fresh or not mine:
            for channel in mine:
                channel.state = CLOSED
            mine = [self.maker.open(delegate, KINDS[kind])]
            if remaining is not None:
                mine[0].amount = uint(remaining)
        channel = mine[-1]
        if remaining is not None:
            channel.remaining = uint(remaining)
        channel.seq = channel.seq if seq is None else seq
        return describe(channel)

    async def raw_sell(self, provider_id: str, args: list, kwargs: dict | None = None) -> dict:
        """Call the provider's sell with exactly these arguments, without any book-keeping.

        Returns {"ok": receipt} or {"error": uri, "args": […], "kwargs": {…}}.
        """
        return await self.raw(f"xbr.provider.{provider_id}.sell", args, kwargs)

    async def raw_close(self, provider_id: str, args: list, kwargs: dict | None = None) -> dict:
        """Call the provider's close_channel with exactly these arguments, without any book-keeping."""
        return await self.raw(f"xbr.provider.{provider_id}.close_channel", args, kwargs)

    async def raw(self, procedure: str, args: list, kwargs: dict | None) -> dict:
        try:
            return {"ok": await self.maker.session.call(procedure, *args, **(kwargs or {}))}
        except ApplicationError as error:
            return {"error": error.error, "args": list(error.args), "kwargs": error.kwargs}

    def fail_next(self, procedure: str, error: str, count: int = 1, after: bool = False) -> None:
        """Let the next calls of xbr.marketmaker.<procedure> fail; `after` their work like a lost reply."""
        self.failures[procedure].extend([(error, after)] * count)

    def delay_next(self, procedure: str, seconds: float, count: int = 1) -> None:
        """Hold the next calls of xbr.marketmaker.<procedure> back for so long."""
        self.delays[procedure].extend([seconds] * count)

    def set_fix_close(self, fix: bool) -> None:
        """Whether a channel that is too low is closed for good and replaced, which upstream gets wrong."""
        self.maker.fix_close = fix
