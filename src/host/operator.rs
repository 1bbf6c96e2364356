//! What the operator of a running market does: opening, listing and closing channels, over the router like
//! everybody else. Whoever has the market maker's key is the operator: the key that it logs in with comes
//! from that one, and so does the signature that the market maker asks for.

use std::net::{IpAddr, Ipv4Addr};

use thiserror::Error;
use xbr_core::crypto::{SignError, keccak256};
use xbr_core::reject::ArgumentError;
use xbr_core::wire::{
    Args, ByChannel, ChannelBalance, ChannelClosing, ChannelIds, ChannelInfo, ChannelType,
    ChannelsByDelegate, MarketCloseRequest, OpenChannel, uri,
};
use xbr_core::{Address, Amount, ChannelId, DelegateKey, Eip712, Signature, Signer};
use xbr_wamp::auth::AuthError;
use xbr_wamp::{Auth, Call, CallError, ClientOptions, ConnectError, CryptosignKey, Session, connect};
use zeroize::Zeroizing;

use crate::config::{HostConfig, HostSecrets, Member, OPERATOR, RealmConfig, RouterConfig};

/// What the market maker's key signs so that the login key comes of it: no message of EIP-712 has this
/// digest.
const LOGIN: &[u8] = b"xbr-seller operator login";
/// Off-chain states and openings of a market without a chain are signed for this block.
const BLOCK: u64 = 1;

/// Why the operator cannot do something.
#[derive(Debug, Error)]
pub enum OperatorError {
    /// The market does not run, or it is another one.
    #[error("cannot join the market at {url}, is it running? {error}")]
    Connect {
        /// Where.
        url: String,
        /// Why.
        error: ConnectError,
    },
    /// There is nowhere to join.
    #[error("router.listen names no address")]
    NoAddress,
    /// The market maker refuses.
    #[error("the market maker refuses: {0}")]
    Call(#[from] CallError),
    /// It answers out of form.
    #[error("the market maker answers out of form: {0}")]
    Malformed(#[from] ArgumentError),
    /// Something cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// There is no key to log in with.
    #[error(transparent)]
    Login(#[from] AuthError),
    /// The channel is of another delegate.
    #[error("the key is not that of the channel's delegate {delegate}")]
    OtherDelegate {
        /// Whose it is.
        delegate: Address,
    },
}

/// The Ed25519 key pair that the operator logs in with.
#[derive(Debug)]
pub struct Login {
    seed: Zeroizing<[u8; 32]>,
    /// The public half: 32 bytes.
    pub public: [u8; 32],
}

/// The login of the operator of the market maker with this key.
///
/// # Errors
/// Those of the signer.
pub fn login(key: &DelegateKey) -> Result<Login, SignError> {
    let signature = key.sign_digest(&keccak256(LOGIN))?;
    let seed = Zeroizing::new(keccak256(signature.as_ref()));
    let mut public = [0; 32];
    if let Ok(pair) = CryptosignKey::from_seed(&seed) {
        // The public key of a pair is always 64 hex digits.
        let _ = hex::decode_to_slice(pair.public_key(), &mut public);
    }
    Ok(Login { seed, public })
}

/// How the operator joins a market with a router of its own.
fn own_realm(own: &RouterConfig, key: &DelegateKey) -> Result<ClientOptions, OperatorError> {
    let mut address = own.listen.first().copied().ok_or(OperatorError::NoAddress)?;
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let mut options = ClientOptions::new(format!("ws://{address}/"), &own.realm);
    let key_pair = CryptosignKey::from_seed(&login(key)?.seed)?;
    options.auth = Auth::Cryptosign { authid: Some(OPERATOR.to_owned()), key: key_pair };
    Ok(options)
}

/// The operator, joined.
#[derive(Debug)]
pub struct Operator<'a> {
    config: &'a HostConfig,
    key: &'a DelegateKey,
    session: Session,
}

/// A channel, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The channel.
    pub channel: ChannelInfo,
    /// Where it stands.
    pub balance: ChannelBalance,
}

impl<'a> Operator<'a> {
    /// Joins the running market.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn join(config: &'a HostConfig, secrets: &'a HostSecrets) -> Result<Self, OperatorError> {
        let key = &secrets.key;
        let options = match &config.realm {
            RealmConfig::Own(own) => own_realm(own, key)?,
            RealmConfig::Other { market, .. } => market.options(secrets.auth.clone()),
        };
        let url = options.url.clone();
        let joined = connect(options).await;
        let (session, _) = joined.map_err(|error| OperatorError::Connect { url, error })?;
        Ok(Self { config, key, session })
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// [`OperatorError`]. After [`OperatorError::Call`] it may be open all the same, if no answer came.
    pub async fn open(&self, member: Member, amount: Amount) -> Result<ChannelInfo, OperatorError> {
        let (maker, delegate) = (&self.config.maker, member.address());
        let mut request = OpenChannel {
            actor: delegate,
            market_id: maker.market_id,
            channel_id: ChannelId::random(),
            chain_id: maker.chain_id,
            block_number: BLOCK,
            verifying_contract: maker.verifying_contract,
            channel_type: member.channel_type(),
            delegate,
            market_maker: self.key.address(),
            recipient: match member {
                Member::Buyer(_) => self.key.address(),
                Member::Seller(_) => delegate,
            },
            amount,
            signature: Signature::new([0; 65]),
        };
        request.signature = request.message().sign(self.key)?;
        Ok(ChannelInfo::parse(&self.call(uri::OPEN_CHANNEL, request.to_args()).await?)?)
    }

    /// All channels of a member, the closed ones included.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn list(&self, member: Member) -> Result<Vec<Listed>, OperatorError> {
        let wanted = ChannelsByDelegate {
            delegate: member.address(),
            channel_type: member.channel_type(),
            filter_open: false,
        };
        let found = self.call(uri::GET_CHANNELS_BY_DELEGATE, wanted.to_args()).await?;
        let mut listed = Vec::new();
        for channel_id in ChannelIds::parse(&found)?.0 {
            listed.push(self.look_up(member.channel_type(), channel_id).await?);
        }
        Ok(listed)
    }

    /// Closes a channel for its delegate, at the state at which it stands.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn close(
        &self,
        channel_id: ChannelId,
        delegate: &DelegateKey,
    ) -> Result<ChannelClosing, OperatorError> {
        // Its id does not say of which kind it is.
        let found = match self.look_up(ChannelType::Payment, channel_id).await {
            Err(OperatorError::Call(_)) => self.look_up(ChannelType::Paying, channel_id).await,
            found => found,
        };
        let Listed { channel, balance } = found?;
        if channel.delegate != delegate.address() {
            return Err(OperatorError::OtherDelegate { delegate: channel.delegate });
        }
        let maker = &self.config.maker;
        let mut request = MarketCloseRequest {
            channel_id,
            chain_id: maker.chain_id,
            block_number: BLOCK,
            verifying_contract: maker.verifying_contract,
            balance: balance.remaining,
            seq: balance.seq,
            is_final: true,
            signature: Signature::new([0; 65]),
        };
        request.signature = request.message(maker.market_id).sign(delegate)?;
        Ok(ChannelClosing::parse(&self.call(uri::CLOSE_CHANNEL, request.to_args()).await?)?)
    }

    async fn look_up(&self, kind: ChannelType, channel_id: ChannelId) -> Result<Listed, OperatorError> {
        let (channel, balance) = match kind {
            ChannelType::Payment => (uri::GET_PAYMENT_CHANNEL, uri::GET_PAYMENT_CHANNEL_BALANCE),
            ChannelType::Paying => (uri::GET_PAYING_CHANNEL, uri::GET_PAYING_CHANNEL_BALANCE),
        };
        let wanted = || ByChannel { channel_id }.to_args();
        Ok(Listed {
            channel: ChannelInfo::parse(&self.call(channel, wanted()).await?)?,
            balance: ChannelBalance::parse(&self.call(balance, wanted()).await?)?,
        })
    }

    async fn call(&self, procedure: &str, args: Args) -> Result<Args, CallError> {
        Ok(self.session.call(Call::new(procedure).args(args)).await?.args)
    }
}
