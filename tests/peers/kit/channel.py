"""Channels of the test market: their records, and the EIP-712 signatures over their states."""

import os
import time
import uuid
from dataclasses import dataclass, field

from common import KEYS, xbr

import eth_keys

MARKET = uuid.UUID(KEYS["market"]["market_oid"]).bytes
CHAIN_ID = KEYS["market"]["chain_id"]
CONTRACT = bytes.fromhex(KEYS["market"]["verifying_contract"][2:])
CLOSE_AT = 1  # both upstream sides sign off-chain states for block 1
PAYMENT, PAYING = 1, 2  # channel types: buyer to market maker, market maker to seller
KINDS = {"payment": PAYMENT, "paying": PAYING}
OPEN, CLOSING, CLOSED = 1, 2, 3


def eth_key(who: str) -> bytes:
    return bytes.fromhex(KEYS[who]["eth_privkey"])


def address(key: bytes) -> bytes:
    """The address of a private key."""
    return eth_keys.keys.PrivateKey(key).public_key.to_canonical_address()


def sign_state(key: bytes, oid: bytes, seq: int, balance: int, final: bool = False) -> bytes:
    return xbr.sign_eip712_channel_close(key, CHAIN_ID, CONTRACT, CLOSE_AT, MARKET, oid, seq, balance, final)


def signer_of_state(signature: bytes, oid: bytes, seq: int, balance: int, final: bool = False) -> bytes:
    return xbr.recover_eip712_channel_close(
        CHAIN_ID, CONTRACT, CLOSE_AT, MARKET, oid, seq, balance, final, signature
    )


def uint(value: int | bytes) -> int:
    """An amount, which comes as an integer or as 32 bytes."""
    return value if isinstance(value, int) else xbr.unpack_uint256(value)


def packed(value: int) -> bytes | int:
    """32 bytes, but the integer 0 for zero: upstream's records do that."""
    return xbr.pack_uint256(value) if value else 0


@dataclass
class Channel:
    kind: int
    delegate: bytes
    amount: int
    remaining: int
    seq: int = 1
    inflight: int = 0
    state: int = OPEN
    oid: bytes = field(default_factory=lambda: os.urandom(16))
    opened: int = field(default_factory=time.time_ns)
    close_seq: int = 0
    close_balance: int = 0
    close_final: bool = False
    close_mm_sig: bytes | None = None
    close_del_sig: bytes | None = None

    @property
    def usable(self) -> bool:
        return self.state == OPEN and self.remaining > 0

    def record(self) -> dict:
        """What the market maker tells about the channel itself."""
        return {
            "market_oid": MARKET,
            "member_oid": None,
            "channel_oid": self.oid,
            "timestamp": self.opened,
            "open_at": None,
            "seq": 1,
            "channel_type": self.kind,
            "marketmaker": address(eth_key("marketmaker")),
            "actor": self.delegate,
            "delegate": self.delegate,
            "recipient": self.delegate,
            "amount": packed(self.amount),
            "timeout": 0,
            "state": self.state,
            "closing_at": None,
            "closed_at": None,
            "close_mm_sig": self.close_mm_sig,
            "close_del_sig": self.close_del_sig,
            "close_channel_seq": self.close_seq,
            "close_balance": xbr.pack_uint256(self.close_balance),
            "close_is_final": self.close_final,
            "closed_tx": None,
        }

    def balance(self) -> dict:
        """What the market maker tells about the channel's current state."""
        return {"remaining": packed(self.remaining), "inflight": packed(self.inflight), "seq": self.seq}
