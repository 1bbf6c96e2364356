"""The XBR contracts on a development chain: a market, its members, its channels, and who owns what.

Interfaces and bytecode come from the installed `xbr` package, the private keys of the members from keys.json;
the chain holds those keys and signs transactions with them. Amounts are in units of 10^-18 XBR.
"""

import json
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from channel import CHAIN_ID, CONTRACT, KINDS, MARKET, address, eth_key  # first: it chooses Twisted
from common import KEYS, XBR, xbr

from web3 import HTTPProvider, Web3
from web3.contract import Contract
from web3.types import TxReceipt

MARKET_MAKER = address(eth_key("marketmaker"))
MEMBER_KEYS = {name: bytes.fromhex(key) for name, key in KEYS["members"].items()}
MEMBERS = {name: address(key) for name, key in MEMBER_KEYS.items()}
PROVIDER, CONSUMER = 1, 2  # the roles of a market's members
FUNDS = 10**8 * XBR  # of whoever pays for channels
NETWORK_PERCENT = 30  # the organization's part of a market's fee
STATES = ("none", "open", "closing", "closed", "failed")
# The contracts refuse signatures for a block further back than this, but on a younger chain they take any.
SIGNATURE_MAX_AGE_BLOCKS = 1440


@dataclass(frozen=True)
class Closing:
    """What the contract knows about the end of a channel: nothing but the state while it is open."""

    state: str
    seq: int
    balance: int


@cache
def artifact(name: str) -> dict:
    """A compiled contract."""
    return json.loads((Path(xbr.__file__).parent / "abi" / f"{name}.json").read_text())


class Chain:
    """The contracts at `addresses`, by name; a new chain has none, and gets them by `make_market`."""

    def __init__(self, url: str, addresses: dict[str, str] | None = None) -> None:
        self.url, self.addresses = url, addresses or {}
        self.web3 = Web3(HTTPProvider(url))

    # --- making a market ---

    def make_market(self, fee_percent: int) -> int:
        """Deploy the contracts, register the members, let them join; return the first block that matters."""
        self.web3.provider.make_request("evm_mine", [{"blocks": SIGNATURE_MAX_AGE_BLOCKS + 1}])
        first_block = self.web3.eth.block_number + 1
        self._deploy("XBRTypes")
        token = self._deploy("XBRToken")
        self._send(token.functions.transfer(MARKET_MAKER, FUNDS), MEMBERS["owner"])
        # Its address follows from its place: only as the owner's fourth transaction it is that of keys.json.
        network = self._deploy("XBRNetwork", token.address, MEMBERS["organization"])
        assert network.address == Web3.to_checksum_address(CONTRACT)
        self._send(token.functions.transfer(MEMBERS["buyer"], FUNDS), MEMBERS["owner"])
        catalog = self._deploy("XBRCatalog", network.address)
        market = self._deploy("XBRMarket", network.address, catalog.address)
        self._deploy("XBRChannel", market.address)

        eula = network.functions.eula().call()
        for member in ("operator", "seller", "buyer"):
            self._send(network.functions.registerMember(eula, ""), MEMBERS[member])
        # The contract's 100 % is all of the token.
        fee = token.functions.totalSupply().call() * fee_percent // 100
        terms = (token.address, "", "", MARKET_MAKER, 0, 0, fee)
        self._send(market.functions.createMarket(MARKET, *terms), MEMBERS["operator"])
        self._send(market.functions.joinMarket(MARKET, PROVIDER, ""), MEMBERS["seller"])
        self._send(market.functions.joinMarket(MARKET, CONSUMER, ""), MEMBERS["buyer"])
        return first_block

    def open_channel(self, kind: str, delegate: bytes, amount: int) -> bytes:
        """Open a "payment" or "paying" channel with this much in it, and return its id."""
        if kind == "paying":
            side, payer, recipient = "seller", MARKET_MAKER, MEMBERS["seller"]
        else:
            side, payer, recipient = "buyer", MEMBERS["buyer"], MEMBERS["operator"]
        oid = uuid.uuid4().bytes
        terms = (KINDS[kind], self.web3.eth.block_number, MARKET, oid)
        terms += (MEMBERS[side], delegate, MARKET_MAKER, recipient, amount)
        signature = xbr.sign_eip712_channel_open(MEMBER_KEYS[side], CHAIN_ID, CONTRACT, *terms)
        channels = self._contract("XBRChannel")
        self._send(self._contract("XBRToken").functions.approve(channels.address, amount), payer)
        self._send(channels.functions.openChannel(*terms, signature), payer)
        return oid

    def _deploy(self, name: str, *arguments: Any) -> Contract:
        compiled = artifact(name)
        code = compiled["bytecode"]
        if library := self.addresses.get("XBRTypes"):
            code = code.replace("__XBRTypes".ljust(40, "_"), library[2:])
        constructor = self.web3.eth.contract(abi=compiled["abi"], bytecode=code).constructor(*arguments)
        self.addresses[name] = self._send(constructor, MEMBERS["owner"])["contractAddress"]
        return self._contract(name)

    def _contract(self, name: str) -> Contract:
        return self.web3.eth.contract(address=self.addresses[name], abi=artifact(name)["abi"])

    def _send(self, function: Any, sender: bytes) -> TxReceipt:
        """Let the sender execute a function of a contract; what the contract refuses raises."""
        options = {"from": Web3.to_checksum_address(sender), "gas": 50_000_000}
        receipt = self.web3.eth.wait_for_transaction_receipt(function.transact(options))
        assert receipt["status"] == 1, f"the chain has refused the transaction {receipt}"
        return receipt

    # --- looking at it ---

    def closing(self, oid: bytes) -> Closing:
        """What became of a channel."""
        state, _, seq, balance, *_ = self._contract("XBRChannel").functions.channelClosingStates(oid).call()
        return Closing(STATES[state], seq, balance)

    def owned(self) -> dict[str, int]:
        """What the members and the market maker own of the token."""
        balance_of = self._contract("XBRToken").functions.balanceOf
        owners = MEMBERS | {"marketmaker": MARKET_MAKER}
        return {name: balance_of(owner).call() for name, owner in owners.items()}
