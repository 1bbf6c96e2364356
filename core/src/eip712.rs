//! The typed messages that are signed (EIP-712): channel states, logins, offers. Each struct has the fields
//! of its type in the protocol, in that order, and hashes to what its signer signs.
//!
//! The domain is `name = "XBR"`, `version = "1"` and nothing else; chain and contract are fields of the
//! structs. A `bytes16` stands left-aligned in its word, integers and addresses right-aligned, a string as
//! its hash.

use std::sync::LazyLock;

use crate::amount::Amount;
use crate::crypto::{self, RecoverError, SignError, keccak256};
use crate::ids::{Address, ApiId, CatalogId, ChannelId, ChannelSeq, KeyId, MarketId, ProviderId, Signature};
use crate::signer::Signer;

/// One 32-byte word of an encoded struct.
type Word = [u8; 32];

/// The type of the domain.
const DOMAIN_TYPE: &str = "EIP712Domain(string name,string version)";

static DOMAIN_SEPARATOR: LazyLock<Word> = LazyLock::new(|| {
    keccak256([keccak256(DOMAIN_TYPE.as_bytes()), string("XBR"), string("1")].as_flattened())
});

/// The hash of the domain, 32 bytes: the same for every message of every market.
pub fn domain_separator() -> [u8; 32] {
    *DOMAIN_SEPARATOR
}

/// A message that can be signed, and its signer recovered.
pub trait Eip712 {
    /// The type with its fields, as EIP-712 writes it.
    const ENCODE_TYPE: &'static str;

    /// The hash of [`ENCODE_TYPE`](Self::ENCODE_TYPE), computed once.
    fn type_hash() -> [u8; 32];

    /// The hash of the struct.
    fn struct_hash(&self) -> [u8; 32];

    /// What is signed: the hash of the domain and the struct.
    fn digest(&self) -> [u8; 32] {
        let mut message = [0; 66];
        message[..2].copy_from_slice(b"\x19\x01");
        message[2..34].copy_from_slice(&domain_separator());
        message[34..].copy_from_slice(&self.struct_hash());
        keccak256(&message)
    }

    /// Signs the message.
    ///
    /// # Errors
    /// Those of the signer.
    fn sign(&self, signer: &dyn Signer) -> Result<Signature, SignError> {
        signer.sign_digest(&self.digest())
    }

    /// The address of whoever signed exactly this message.
    ///
    /// # Errors
    /// [`RecoverError`] when the signature breaks a rule; a signature over another message gives another
    /// address.
    fn recover(&self, signature: &Signature) -> Result<Address, RecoverError> {
        crypto::recover(&self.digest(), signature)
    }
}

/// Implements `ENCODE_TYPE` and `type_hash`; the struct hash covers the words that follow.
macro_rules! eip712 {
    ($name:ident, $encode_type:literal, |$self:ident| [$($word:expr),+ $(,)?]) => {
        impl Eip712 for $name {
            const ENCODE_TYPE: &'static str = $encode_type;

            fn type_hash() -> [u8; 32] {
                static TYPE_HASH: LazyLock<Word> = LazyLock::new(|| keccak256($encode_type.as_bytes()));
                *TYPE_HASH
            }

            fn struct_hash(&self) -> [u8; 32] {
                let $self = self;
                keccak256([Self::type_hash(), $($word),+].as_flattened())
            }
        }
    };
}

/// A state of a payment or paying channel: what both sides sign for every sale, and to close it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelClose {
    /// The chain (`uint256`).
    pub chain_id: Amount,
    /// The contract that verifies the signature on the chain.
    pub verifying_contract: Address,
    /// The block that the state is signed for (`uint256`); 1 off the chain.
    pub close_at: Amount,
    /// The market.
    pub market_id: MarketId,
    /// The channel.
    pub channel_id: ChannelId,
    /// The sequence number of the state.
    pub channel_seq: ChannelSeq,
    /// What remains with the buyer's side, in units of 10^-18 XBR.
    pub balance: Amount,
    /// Whether the channel ends with this state at once.
    pub is_final: bool,
}

eip712!(
    ChannelClose,
    "EIP712ChannelClose(uint256 chainId,address verifyingContract,uint256 closeAt,bytes16 marketId,\
     bytes16 channelId,uint32 channelSeq,uint256 balance,bool isFinal)",
    |this| [
        this.chain_id.to_be_bytes(),
        address(&this.verifying_contract),
        this.close_at.to_be_bytes(),
        bytes16(this.market_id.as_bytes()),
        bytes16(this.channel_id.as_bytes()),
        uint(this.channel_seq.value().into()),
        this.balance.to_be_bytes(),
        uint(this.is_final.into()),
    ]
);

/// The opening of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelOpen {
    /// The chain (`uint256`).
    pub chain_id: Amount,
    /// The contract that verifies the signature on the chain.
    pub verifying_contract: Address,
    /// 1 for a payment channel, 2 for a paying channel.
    pub ctype: u8,
    /// The block that the opening is signed for (`uint256`).
    pub opened_at: Amount,
    /// The market.
    pub market_id: MarketId,
    /// The channel.
    pub channel_id: ChannelId,
    /// The member of the market whose channel it is.
    pub actor: Address,
    /// The delegate that may sign its states.
    pub delegate: Address,
    /// The market maker.
    pub marketmaker: Address,
    /// Who gets what the channel paid.
    pub recipient: Address,
    /// What is put into it, in units of 10^-18 XBR.
    pub amount: Amount,
}

eip712!(
    ChannelOpen,
    "EIP712ChannelOpen(uint256 chainId,address verifyingContract,uint8 ctype,uint256 openedAt,\
     bytes16 marketId,bytes16 channelId,address actor,address delegate,address marketmaker,address recipient,\
     uint256 amount)",
    |this| [
        this.chain_id.to_be_bytes(),
        address(&this.verifying_contract),
        uint(this.ctype.into()),
        this.opened_at.to_be_bytes(),
        bytes16(this.market_id.as_bytes()),
        bytes16(this.channel_id.as_bytes()),
        address(&this.actor),
        address(&this.delegate),
        address(&this.marketmaker),
        address(&this.recipient),
        this.amount.to_be_bytes(),
    ]
);

/// A member's consent that a delegate acts for it on the APIs of a catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// The chain (`uint256`).
    pub chain_id: Amount,
    /// The contract that verifies the signature on the chain.
    pub verifying_contract: Address,
    /// Who consents.
    pub member: Address,
    /// The block that the consent is signed for (`uint256`).
    pub updated: Amount,
    /// The market.
    pub market_id: MarketId,
    /// Who may act.
    pub delegate: Address,
    /// As what: provider, consumer or both.
    pub delegate_type: u8,
    /// The catalog of the APIs.
    pub api_catalog: CatalogId,
    /// Whether consent is given or taken back.
    pub consent: bool,
    /// The URI prefix of the provider's procedures; empty when there is none.
    pub service_prefix: String,
}

eip712!(
    Consent,
    "EIP712Consent(uint256 chainId,address verifyingContract,address member,uint256 updated,bytes16 marketId,\
     address delegate,uint8 delegateType,bytes16 apiCatalog,bool consent,string servicePrefix)",
    |this| [
        this.chain_id.to_be_bytes(),
        address(&this.verifying_contract),
        address(&this.member),
        this.updated.to_be_bytes(),
        bytes16(this.market_id.as_bytes()),
        address(&this.delegate),
        uint(this.delegate_type.into()),
        bytes16(this.api_catalog.as_bytes()),
        uint(this.consent.into()),
        string(&this.service_prefix),
    ]
);

/// A member's login to a market.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarketMemberLogin {
    /// Who logs in.
    pub member: Address,
    /// The Ed25519 public key of the client, 32 bytes.
    pub client_pubkey: [u8; 32],
}

eip712!(MarketMemberLogin, "EIP712MarketMemberLogin(address member,bytes32 client_pubkey)", |this| [
    address(&this.member),
    this.client_pubkey
]);

/// An offer of a data key. This struct is the project's own: the reference signs offers with random bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The chain (`uint256`).
    pub chain_id: Amount,
    /// The contract that verifies the signature on the chain.
    pub verifying_contract: Address,
    /// The market.
    pub market_id: MarketId,
    /// The key.
    pub key_id: KeyId,
    /// The API that it belongs to.
    pub api_id: ApiId,
    /// The URI prefix that its payloads are published under.
    pub uri: String,
    /// From when it is valid, Unix nanoseconds.
    pub valid_from: u64,
    /// The seller's delegate.
    pub delegate: Address,
    /// The price of the key, in units of 10^-18 XBR.
    pub price: Amount,
    /// Until when it is valid, Unix nanoseconds; 0 when it does not expire.
    pub expires: u64,
    /// How often it may be sold; 0 for any number.
    pub copies: u64,
    /// Under which name the seller's procedures are registered.
    pub provider_id: ProviderId,
}

eip712!(
    Offer,
    "EIP712Offer(uint256 chainId,address verifyingContract,bytes16 marketId,bytes16 keyId,bytes16 apiId,\
     string uri,uint256 validFrom,address delegate,uint256 price,uint256 expires,uint256 copies,\
     string providerId)",
    |this| [
        this.chain_id.to_be_bytes(),
        address(&this.verifying_contract),
        bytes16(this.market_id.as_bytes()),
        bytes16(this.key_id.as_bytes()),
        bytes16(this.api_id.as_bytes()),
        string(&this.uri),
        uint(this.valid_from),
        address(&this.delegate),
        this.price.to_be_bytes(),
        uint(this.expires),
        uint(this.copies),
        string(this.provider_id.as_str()),
    ]
);

/// An unsigned integer, right-aligned. A bool is 0 or 1.
fn uint(value: u64) -> Word {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&value.to_be_bytes());
    word
}

fn address(address: &Address) -> Word {
    let mut word = [0; 32];
    word[12..].copy_from_slice(address.as_bytes());
    word
}

fn bytes16(bytes: &[u8; 16]) -> Word {
    let mut word = [0; 32];
    word[..16].copy_from_slice(bytes);
    word
}

fn string(text: &str) -> Word {
    keccak256(text.as_bytes())
}
