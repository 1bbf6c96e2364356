"""Makes Crossbar 26.10.1 able to run its market maker; Python imports it by itself when it finds it on PYTHONPATH.

What the market maker says and decides stays its own. But it was written for older libraries than it asks for:

* it calls web3 and eth_account by names that they had before they took up Python's spelling;
* Crossbar replaces a function that eth_abi has dropped by another one with other arguments, unless it is there,
  and could sign nothing then;
* one serializer was built for an older NumPy and fills the log with complaints about that.

And it looks at the chain every five minutes, which is too long to wait for a new channel.
"""

import inspect
import sys
import threading

import eth_abi
from eth_account import Account
from eth_account.datastructures import SignedTransaction
from web3 import Web3
from web3.contract.contract import ContractEvent, ContractFunction
from web3.eth import Eth

MONITOR_PERIOD_S = 300  # between the market maker's looks at the chain
SHORT_PERIOD_S = 1

RENAMED = {
    Web3: ("to_bytes", "to_checksum_address", "to_int", "to_wei"),
    Eth: (
        "block_number",
        "get_balance",
        "get_block",
        "get_logs",
        "get_transaction_count",
        "get_transaction_receipt",
        "send_raw_transaction",
    ),
    ContractEvent: ("process_receipt",),
    ContractFunction: ("build_transaction",),
    SignedTransaction: ("raw_transaction",),
}


def old_name(name: str) -> str:
    """The name in the spelling of JavaScript, which web3 had before."""
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def shortened(wait):
    """Event.wait, but for the market maker's long one."""
    return lambda event, timeout=None: wait(event, SHORT_PERIOD_S if timeout == MONITOR_PERIOD_S else timeout)


for owner, names in RENAMED.items():
    for name in names:
        setattr(owner, old_name(name), inspect.getattr_static(owner, name))
Account.privateKeyToAccount = inspect.getattr_static(Account, "from_key")
eth_abi.encode_single = lambda kind, value: eth_abi.encode([kind], [value])
sys.modules["bjdata"] = None
threading.Event.wait = shortened(threading.Event.wait)
