#!/usr/bin/env python3
"""A market maker without blockchain and database, to test sellers and buyers against.

It answers xbr.marketmaker.* like the market maker of crossbar 26.10.1: the same
URIs, order of arguments, shapes of results, error URIs and events, and the same
mistakes, because a seller has to live with them:

* A failed sale leaves the paying channel with the raised seq, the lowered
  remaining and the raised inflight.
* When a paying channel is too low for a sale, the seller is asked to close it,
  and then the sale fails all the same (unless test.mm.set_fix_close(true): then
  the channel is closed and the sale goes on with a fresh one).
* Zero is the integer 0, not 32 bytes; a revoked offer is still sold.

Every delegate that asks gets an open channel. The procedures test.mm.* (see
mm_control.py) look into the market maker and control it.
"""

import argparse
import os
import re
import time
import uuid
from typing import Any

from channel import (
    CHAIN_ID,
    CLOSE_AT,
    CLOSING,
    CONTRACT,
    KINDS,
    MARKET,
    OPEN,
    PAYING,
    PAYMENT,
    Channel,
    address,
    eth_key,
    packed,
    sign_state,
    signer_of_state,
    uint,
)
from common import KEYS, XBR, add_connection_options, emit, run, xbr
from mm_control import Control

from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import PublishOptions
from twisted.internet.defer import Deferred
from xbr import pack_uint256, unpack_uint256

PRIVKEY = eth_key("marketmaker")
ADDRESS = address(PRIVKEY)
NO_SUCH_OBJECT = "crossbar.error.no_such_object"
URI = re.compile(r"([0-9a-z_]+\.)*[0-9a-z_]*")
MINUTE = 60 * 10**9


def need(length: int, **values: Any) -> None:
    """Fail, as upstream does, with an assertion when a value is not bytes of this length."""
    for name, value in values.items():
        assert isinstance(value, bytes) and len(value) == length, f"{name} must be bytes[{length}]"


class MarketMaker:
    """The procedures xbr.marketmaker.*."""

    PROCEDURES = (
        "get_config",
        "get_status",
        "get_active_paying_channel",
        "get_active_payment_channel",
        "get_paying_channel",
        "get_payment_channel",
        "get_paying_channel_balance",
        "get_payment_channel_balance",
        "get_channels_by_delegate",
        "close_channel",
        "place_offer",
        "get_offer",
        "revoke_offer",
        "get_quote",
        "buy_key",
    )

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.fix_close = False
        self.session: Any = None
        self.channels: list[Channel] = []
        self.offers: dict[bytes, dict] = {}

    async def publish(self, topic: str, *args: Any) -> None:
        await self.session.publish(topic, *args, options=PublishOptions(acknowledge=True))

    # --- configuration ---

    def get_config(self, include_eula_text: bool = False):
        contract = KEYS["market"]["verifying_contract"]
        return {
            "now": time.time_ns(),
            "chain": CHAIN_ID,
            "verifying_chain_id": CHAIN_ID,
            "verifying_contract_adr": contract,
            "contracts": {
                f"xbr{name}": contract for name in ("token", "network", "catalog", "market", "channel")
            },
            "eula": {"url": "http://127.0.0.1/eula", "hash": "", "text": "" if include_eula_text else None},
            "coin": None,
            "owner": "0x" + ADDRESS.hex(),
            "market": str(uuid.UUID(bytes=MARKET)),
            "marketmaker": "0x" + ADDRESS.hex(),
        }

    def get_status(self):
        block = {"number": 1, "hash": bytes(32), "gas_limit": 6721975}
        status = 0  # upstream says "none" for as long as it runs
        return {"now": time.time_ns(), "chain": CHAIN_ID, "block": block, "status": status}

    # --- channels ---

    def open(self, delegate: bytes, kind: int) -> Channel:
        amount = (self.args.paying if kind == PAYING else self.args.payment) * XBR
        self.channels.append(Channel(kind, delegate, amount, amount))
        return self.channels[-1]

    def active(self, kind: int, delegate: bytes) -> Channel:
        for channel in self.channels:
            if (channel.kind, channel.delegate) == (kind, delegate) and channel.usable:
                return channel
        return self.open(delegate, kind)

    def find(self, kind: str, channel_oid: bytes) -> Channel:
        need(16, channel_oid=channel_oid)
        for channel in self.channels:
            if (channel.kind, channel.oid) == (KINDS[kind], channel_oid):
                return channel
        raise ApplicationError(NO_SUCH_OBJECT, f"no {kind} channel {uuid.UUID(bytes=channel_oid)} found")

    def get_active_paying_channel(self, delegate_adr):
        need(20, delegate_adr=delegate_adr)
        channel = self.active(PAYING, delegate_adr)
        return channel.record()

    def get_active_payment_channel(self, delegate_adr):
        need(20, delegate_adr=delegate_adr)
        channel = self.active(PAYMENT, delegate_adr)
        return channel.record()

    def get_paying_channel(self, channel_oid):
        return self.find("paying", channel_oid).record()

    def get_payment_channel(self, channel_oid):
        return self.find("payment", channel_oid).record()

    def get_paying_channel_balance(self, channel_oid):
        return self.find("paying", channel_oid).balance()

    def get_payment_channel_balance(self, channel_oid):
        return self.find("payment", channel_oid).balance()

    def get_channels_by_delegate(self, delegate_adr: bytes, channel_type: int, filter_open=True):
        if channel_type not in KINDS.values():
            raise ApplicationError(
                "xbr.marketmaker.error.invalid_channel_type", "must be 1 (payment) or 2 (paying)"
            )
        if len(delegate_adr) != 20:
            raise ApplicationError("xbr.marketmaker.error.invalid_delegate_adr", "must be 20 bytes")
        mine = [c for c in self.channels if (c.kind, c.delegate) == (channel_type, delegate_adr)]
        return [c.oid for c in mine if c.usable or not filter_open]

    async def close_channel(
        self,
        channel_oid: bytes,
        verifying_chain_id: int,
        current_block_number: int,
        verifying_contract_adr: bytes,
        closing_balance: bytes,
        closing_seq: int,
        closing_is_final: bool,
        delegate_signature: bytes,
    ):
        channel = next((c for c in self.channels if c.oid == channel_oid), None)
        if not channel:
            raise ApplicationError("xbr.error.invalid_channel")
        balance = unpack_uint256(closing_balance)
        state = (
            verifying_chain_id,
            verifying_contract_adr,
            current_block_number,
            MARKET,
            channel_oid,
            closing_seq,
            balance,
            closing_is_final,
        )
        try:
            signer = xbr.recover_eip712_channel_close(*state, delegate_signature)
        except Exception as error:
            raise ApplicationError(
                "xbr.error.invalid_signature", f"EIP712 signature recovery failed ({error})"
            ) from error
        if signer != channel.delegate:
            raise ApplicationError("xbr.error.invalid_signature", "EIP712 signature invalid")
        if channel.state != OPEN:
            raise ApplicationError("xbr.error.channel_not_open", f"channel is in state {channel.state}")
        channel.state = CLOSING
        channel.close_seq, channel.close_balance, channel.close_final = closing_seq, balance, closing_is_final
        channel.close_del_sig = delegate_signature
        if closing_is_final:
            channel.close_mm_sig = xbr.sign_eip712_channel_close(PRIVKEY, *state)
        closing = {
            "transaction": os.urandom(32),
            "market_oid": MARKET,
            "channel_oid": channel_oid,
            "state": channel.state,
            "balance": closing_balance,
            "seq": closing_seq,
            "is_final": closing_is_final,
        }
        kind = "payment" if channel.kind == PAYMENT else "paying"
        await self.publish(f"xbr.marketmaker.on_{kind}_channel_closing", closing)
        return closing

    # --- offers ---

    async def place_offer(
        self,
        key_id,
        api_id,
        uri,
        valid_from,
        delegate_adr,
        delegate_signature,
        privkey=None,
        price=None,
        categories=None,
        expires=None,
        copies=None,
        provider_id=None,
        details=None,
    ):
        need(16, key_id=key_id, api_id=api_id)
        need(20, delegate_adr=delegate_adr)
        need(65, delegate_signature=delegate_signature)
        need(
            32,
            **{name: value for name, value in (("privkey", privkey), ("price", price)) if value is not None},
        )
        assert isinstance(uri, str) and isinstance(valid_from, int), "uri must be str, valid_from must be int"
        assert isinstance(expires, int | None) and isinstance(copies, int | None), (
            "expires, copies must be int"
        )
        assert categories is None or (
            isinstance(categories, dict)
            and all(isinstance(s, str) for pair in categories.items() for s in pair)
        ), "categories must be a dict of str to str"
        now = time.time_ns()
        if not URI.fullmatch(uri):
            raise ApplicationError("wamp.error.invalid_argument", "invalid uri")
        if expires is not None and not valid_from + 5 * MINUTE <= expires <= now + 24 * 60 * MINUTE:
            raise ApplicationError("wamp.error.invalid_argument", "invalid expires")
        if key_id in self.offers:
            raise Exception("key already offered")
        offer = {
            "timestamp": now,
            "offer": os.urandom(16),
            "seller": delegate_adr,
            "seller_session_id": details.caller,
            "seller_authid": provider_id,
            "key": key_id,
            "api": api_id,
            "uri": uri,
            "valid_from": valid_from or None,
            "signature": delegate_signature,
            "price": packed(unpack_uint256(price)),
            "categories": categories,
            "expires": expires or None,
            "copies": copies,
            "remaining": copies,
        }
        self.offers[key_id] = {**offer, "copies": copies or 0, "remaining": copies or 0}
        await self.publish("xbr.marketmaker.on_offer_placed", offer)
        if price is None:
            raise TypeError("the offer is stored as free, but upstream stumbles over the missing price here")
        return offer

    def offer(self, key_id: bytes) -> dict:
        need(16, key_id=key_id)
        if key_id not in self.offers:
            raise ApplicationError(NO_SUCH_OBJECT, f'no offer for key with ID "{uuid.UUID(bytes=key_id)}"')
        return self.offers[key_id]

    def get_offer(self, offer_id):
        need(16, offer_id=offer_id)
        for offer in self.offers.values():
            if offer["offer"] == offer_id:
                return offer
        raise ApplicationError(NO_SUCH_OBJECT, f'no offer with ID "{uuid.UUID(bytes=offer_id)}"')

    async def revoke_offer(self, key_id):
        """Upstream answers and publishes the revoked offer, but goes on selling the key."""
        revoked = {**self.offer(key_id), "expires": time.time_ns()}
        await self.publish("xbr.marketmaker.on_offer_revoked", revoked)
        return revoked

    def get_quote(self, key_id):
        offer = self.offer(key_id)
        if not offer["price"]:
            raise NotImplementedError(
                "dynamic key pricing not implemented"
            )  # upstream quotes no free key either
        if offer["expires"] and offer["expires"] < time.time_ns():
            raise ApplicationError("xbr.error.offer_expired", "the offer has expired")
        return {
            "timestamp": time.time_ns(),
            "key": key_id,
            "price": offer["price"],
            "expires": offer["expires"] or 0,
        }

    # --- buying ---

    def check(self, what: str, signer: bytes, signature: bytes, *state: Any) -> None:
        if signer_of_state(signature, *state) != signer:
            raise ApplicationError(
                "xbr.error.invalid_signature", f"EIP712 signature invalid or not signed by {what}"
            )

    async def paying_channel(self, offer: dict, price: int) -> Channel:
        """A channel of the seller with enough left, after closing the one that has not."""
        provider = f"xbr.provider.{offer['seller_authid']}"
        while True:
            channel = self.active(PAYING, offer["seller"])
            if price <= channel.remaining:
                return channel
            oid, seq, remaining = channel.oid, channel.seq, pack_uint256(channel.remaining)
            signature = sign_state(PRIVKEY, oid, seq, channel.remaining, True)
            try:
                receipt = await self.session.call(
                    f"{provider}.close_channel", ADDRESS, oid, seq, remaining, True, signature
                )
                signature = receipt["signature"]
            except Exception as error:
                raise ApplicationError(
                    "xbr.error.insufficient_paying_balance", f"auto-close failed: {error}"
                ) from error
            if not self.fix_close:
                raise TypeError("upstream calls its own close_channel with three arguments too few here")
            await self.close_channel(oid, CHAIN_ID, CLOSE_AT, CONTRACT, remaining, seq, True, signature)
            await self.publish(f"{provider}.on_channel_closed", oid, seq, remaining, True)

    async def buy_key(
        self, delegate_adr, buyer_pubkey, key_id, channel_oid, channel_seq, amount, balance, signature
    ):
        need(16, key_id=key_id, channel_oid=channel_oid)
        need(20, delegate_adr=delegate_adr)
        need(32, buyer_pubkey=buyer_pubkey, amount=amount, balance=balance)
        need(65, signature=signature)
        assert isinstance(channel_seq, int), "channel_seq must be int"
        self.check(
            "buyer delegate", delegate_adr, signature, channel_oid, channel_seq, unpack_uint256(balance)
        )
        payment = self.find("payment", channel_oid)
        if not payment.usable:
            raise ApplicationError(NO_SUCH_OBJECT, "payment channel is not open or has no balance remaining")
        offer = self.offer(key_id)
        price = uint(offer["price"])
        if unpack_uint256(amount) < price:
            raise ApplicationError(
                "xbr.error.insufficient_amount", f"amount is less than the offer price {price}"
            )
        if price > payment.remaining:
            raise ApplicationError(
                "xbr.error.insufficient_payment_balance", f"only {payment.remaining} remaining"
            )
        paying = await self.paying_channel(offer, price)
        for channel in (payment, paying):
            channel.seq += 1
            channel.remaining -= price
            channel.inflight += price
        seq, remaining = paying.seq, paying.remaining
        try:
            receipt = await self.session.call(
                f"xbr.provider.{offer['seller_authid']}.sell",
                ADDRESS,
                buyer_pubkey,
                key_id,
                paying.oid,
                seq,
                pack_uint256(price),
                pack_uint256(remaining),
                sign_state(PRIVKEY, paying.oid, seq, remaining),
            )
            self.check("seller delegate", paying.delegate, receipt["signature"], paying.oid, seq, remaining)
            sealed_key = receipt["sealed_key"]
        except Exception as error:
            payment.remaining += price  # upstream gives nothing back to the paying channel
            payment.inflight -= price
            if isinstance(error, ApplicationError):
                raise
            raise ApplicationError(
                "xbr.error.transaction_failed", f"could not buy key from seller: {error}"
            ) from error
        for name, channel in (("payment", payment), ("paying", paying)):
            channel.inflight -= price
            if channel.remaining + channel.inflight <= 0:
                await self.publish(f"xbr.marketmaker.on_{name}_channel_empty", channel.oid)
        return {
            "key_id": key_id,
            "delegate": delegate_adr,
            "buyer_pubkey": buyer_pubkey,
            "sealed_key": sealed_key,
            "offer_id": offer["offer"],
            "free_rated": not price,
            "amount": amount,
            "amount_paid": pack_uint256(price),
            "channel_seq": payment.seq,
            "payment_channel": payment.oid,
            "remaining": pack_uint256(payment.remaining),
            "inflight": pack_uint256(payment.inflight),
            "signature": sign_state(PRIVKEY, payment.oid, payment.seq, payment.remaining),
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--paying",
        type=int,
        default=10**6,
        metavar="XBR",
        help="amount of the paying channels it opens (default %(default)s)",
    )
    parser.add_argument(
        "--payment",
        type=int,
        default=10**6,
        metavar="XBR",
        help="amount of the payment channels it opens (default %(default)s)",
    )
    add_connection_options(parser)
    args = parser.parse_args()
    maker = MarketMaker(args)
    control = Control(maker)

    async def joined(session: Any) -> int:
        maker.session = session
        for name in maker.PROCEDURES:
            await control.register(name)
        for name in control.PROCEDURES:
            await session.register(getattr(control, name), f"test.mm.{name}")
        await maker.publish("xbr.marketmaker.on_status", str(uuid.UUID(bytes=MARKET)), 1)
        emit(event="ready", marketmaker=ADDRESS)
        return await Deferred()

    run(args, "marketmaker", joined)


if __name__ == "__main__":
    main()
