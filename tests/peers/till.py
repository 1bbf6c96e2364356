"""The market maker's side of one paying channel, for tests that write the requests to the seller."""

import os
from dataclasses import dataclass, field, replace
from typing import Any

from channel import address, eth_key, sign_state, signer_of_state  # first: it chooses Twisted
from common import xbr

import cbor2
import nacl.public
import nacl.secret

from realm import Realm

MARKET_MAKER = eth_key("marketmaker")


@dataclass
class Request:
    """What the arguments of `sell` and `close_channel` are made of; a test replaces what should be wrong."""

    buyer_pubkey: bytes
    key_id: bytes
    oid: bytes
    seq: int
    amount: int
    balance: int
    is_final: bool = False
    market_maker: bytes = address(MARKET_MAKER)
    signer: bytes = MARKET_MAKER

    def signature(self) -> bytes:
        return sign_state(self.signer, self.oid, self.seq, self.balance, self.is_final)

    def sell(self) -> list:
        """The eight arguments of `sell`."""
        amount, balance = map(xbr.pack_uint256, (self.amount, self.balance))
        return [
            self.market_maker,
            self.buyer_pubkey,
            self.key_id,
            self.oid,
            self.seq,
            amount,
            balance,
            self.signature(),
        ]

    def close(self) -> list:
        """The six arguments of `close_channel`."""
        balance = xbr.pack_uint256(self.balance)
        return [self.market_maker, self.oid, self.seq, balance, self.is_final, self.signature()]


@dataclass
class Till:
    """State of the channel after the last sale: `seq`, and what remains, `balance`."""

    realm: Realm
    provider_id: str
    delegate: bytes
    price: int
    key_id: bytes
    oid: bytes
    seq: int
    balance: int
    receiver: nacl.public.PrivateKey = field(default_factory=nacl.public.PrivateKey.generate)

    def next_sale(self, **changes: Any) -> Request:
        """A purchase of the key for its price, in the next state of the channel, but for the changes."""
        good = Request(
            bytes(self.receiver.public_key),
            self.key_id,
            self.oid,
            self.seq + 1,
            self.price,
            self.balance - self.price,
        )
        return replace(good, **changes)

    def final_state(self, **changes: Any) -> Request:
        """The close of the channel in its present state, but for the changes."""
        good = Request(b"", b"", self.oid, self.seq, 0, self.balance, is_final=True)
        return replace(good, **changes)

    def call(self, procedure: str, args: list, kwargs: dict | None = None) -> dict:
        """Let the market maker call `sell` or `close`: {"ok": result} or {"error": uri, …}."""
        return self.realm.call(f"test.mm.raw_{procedure}", self.provider_id, args, kwargs)

    def sell(self, request: Request) -> dict:
        """Buy, and check the receipt as the market maker and the buyer do."""
        answer = self.call("sell", request.sell())
        assert "ok" in answer, answer
        self.check_receipt(answer["ok"], request)
        self.seq, self.balance = request.seq, request.balance
        return answer["ok"]

    def check_receipt(self, receipt: dict, request: Request) -> None:
        """Every field is right, the signature is the seller's, and the key is sealed to the buyer."""
        sealed, signature = receipt["sealed_key"], receipt["signature"]
        assert receipt == {
            "key_id": request.key_id,
            "delegate": self.delegate,
            "buyer_pubkey": request.buyer_pubkey,
            "sealed_key": sealed,
            "channel_seq": request.seq,
            "amount": xbr.pack_uint256(request.amount),
            "balance": xbr.pack_uint256(request.balance),
            "signature": signature,
        }
        assert signer_of_state(signature, request.oid, request.seq, request.balance) == self.delegate
        assert (len(signature), len(sealed)) == (65, 80)

    def open(self, receipt: dict, ciphertext: bytes) -> Any:
        """The payload of an event that was encrypted with the key of this receipt."""
        key = nacl.public.SealedBox(self.receiver).decrypt(receipt["sealed_key"])
        return cbor2.loads(nacl.secret.SecretBox(key).decrypt(ciphertext))


def random_key() -> bytes:
    """A public key of a buyer that nobody needs to read for."""
    return bytes(nacl.public.PrivateKey(os.urandom(32)).public_key)
