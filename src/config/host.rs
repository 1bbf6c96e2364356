//! The configuration of `xbr-seller market`: the market maker, and the router that it trades over.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use xbr_core::{Address, Amount, DelegateKey, MarketId};
use xbr_market::maker::OfferPolicy;
use xbr_market::router::{Credential, RealmOptions, Role, RouterOptions, Rule};
use xbr_wamp::{Auth, Match, Serializer};

use super::common::{XBR, amount, non_empty, pattern, positive, serializers, uri_that_is};
use super::document::Node;
use super::problem::{ConfigError, ProblemKind};
use super::read::{Reader, collect};
use super::section::{Section, boolean, duration, integer, list, parsed, shorten, text, word};
use super::{Environment, LogConfig, MarketConfig, parse};

const SECONDS: fn(u64) -> Duration = Duration::from_secs;
const MIB: usize = 1 << 20;

/// The role of the market maker's own session, which no other can have.
pub const MARKET_MAKER_ROLE: &str = "marketmaker";
/// The operator of the market, a role as well as a name: whoever has the market maker's key.
pub const OPERATOR: &str = "operator";

/// The whole configuration of a market, checked.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// The market maker.
    pub maker: MakerConfig,
    /// The router that it trades over.
    pub realm: RealmConfig,
    /// The file of the books.
    pub store: PathBuf,
    /// The channels to be opened.
    pub channels: Vec<ChannelConfig>,
    /// What is logged, and how.
    pub log: LogConfig,
}

/// The router that a market maker trades over.
#[derive(Debug, Clone)]
pub enum RealmConfig {
    /// Its own: `[router]`.
    Own(RouterConfig),
    /// Another one, as a client of it: `[market]`.
    Other {
        /// How it is joined.
        market: MarketConfig,
        /// Whether to take registrations over from an earlier session that the router still holds.
        force_reregister: bool,
    },
}

/// The section `[maker]`, without its secrets.
#[derive(Debug, Clone)]
pub struct MakerConfig {
    /// The market.
    pub market_id: MarketId,
    /// The chain that states are signed for.
    pub chain_id: u64,
    /// The contract that states are signed for.
    pub verifying_contract: Address,
    /// Which offers are taken.
    pub offers: OfferPolicy,
    /// How many sales may be in flight over one paying channel.
    pub max_in_flight: usize,
    /// How long a buyer waits for its key.
    pub buy_patience: Duration,
    /// How long a seller may take before it is asked again.
    pub sell_timeout: Duration,
    /// How long stopping may take.
    pub grace: Duration,
}

/// The section `[router]`, with `[[role]]` and `[[principal]]`, without their secrets.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// The realm.
    pub realm: String,
    /// What is spoken.
    pub serializers: Vec<Serializer>,
    /// The role of those who join without a proof; `None` if nobody may.
    pub anonymous: Option<String>,
    /// How many connections there may be at once.
    pub max_connections: usize,
    /// The largest message, in bytes.
    pub max_message_bytes: usize,
    /// How deep values may nest.
    pub max_depth: usize,
    /// How long a client may take to join.
    pub handshake_timeout: Duration,
    /// After how much silence a ping goes out; `None`: never.
    pub ping_interval: Option<Duration>,
    /// How long after a ping a client counts as dead.
    pub ping_timeout: Duration,
    /// What sessions may do.
    pub roles: Vec<Role>,
    /// Who may join.
    pub principals: Vec<PrincipalConfig>,
}

/// A `[[principal]]`, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalConfig {
    /// The name.
    pub authid: String,
    /// The name of a role.
    pub role: String,
    /// The public key that it proves to have; `None`: it has a ticket.
    pub public_key: Option<[u8; 32]>,
}

/// A `[[channel]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelConfig {
    /// For whom.
    pub member: Member,
    /// What is put into it.
    pub amount: Amount,
}

/// Somebody who has channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// A buyer's delegate, which has payment channels.
    Buyer(Address),
    /// A seller's delegate, which has paying channels.
    Seller(Address),
}

/// What the configuration of a market names but does not hold.
#[derive(Debug)]
pub struct HostSecrets {
    /// The market maker's key.
    pub key: DelegateKey,
    /// The tickets of those principals that have one, in their order.
    pub tickets: Vec<SecretString>,
    /// Who we are towards another router.
    pub auth: Auth,
}

impl HostConfig {
    /// Reads a configuration without looking at the files that it names.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Self, ConfigError> {
        parse(path, text, environment, |reader, root| reader.host(root))
    }

    /// Reads the configuration file, and the secrets that it names.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong, in the file and with the files that it names.
    pub fn load(path: &Path, environment: &Environment) -> Result<(Self, HostSecrets), ConfigError> {
        super::load_with(
            path,
            &super::read_file(path)?,
            environment,
            |reader, root| reader.host(root),
            |files, report| files.load_host(report),
        )
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Buyer(address) => write!(f, "buyer {address}"),
            Self::Seller(address) => write!(f, "seller {address}"),
        }
    }
}

impl RouterConfig {
    /// The router, with these tickets for those who have one, and that key for the operator.
    pub fn options(&self, tickets: Vec<SecretString>, operator_key: [u8; 32]) -> RouterOptions {
        let maker = Role::unrestricted(MARKET_MAKER_ROLE).disclosed();
        let calls = Rule {
            uri: "xbr.marketmaker.".to_owned(),
            matching: Match::Prefix,
            call: true,
            ..Rule::default()
        };
        let operator = Role::new(OPERATOR, [calls]);
        let mut realm = RealmOptions::new(&self.realm).role(maker).role(operator).principal(
            OPERATOR,
            OPERATOR,
            Credential::Cryptosign { public_key: operator_key },
        );
        realm.roles.extend(self.roles.iter().cloned());
        realm.anonymous.clone_from(&self.anonymous);
        let mut tickets = tickets.into_iter();
        for PrincipalConfig { authid, role, public_key } in &self.principals {
            let credential = match public_key {
                Some(public_key) => Some(Credential::Cryptosign { public_key: *public_key }),
                None => tickets.next().map(Credential::Ticket),
            };
            if let Some(credential) = credential {
                realm = realm.principal(authid, role, credential);
            }
        }
        let mut options = RouterOptions::new([realm]);
        options.serializers.clone_from(&self.serializers);
        options.max_connections = self.max_connections;
        options.max_message_bytes = self.max_message_bytes;
        options.limits.max_depth = self.max_depth;
        options.handshake_timeout = self.handshake_timeout;
        options.ping_interval = self.ping_interval;
        options.ping_timeout = self.ping_timeout;
        options
    }
}

impl Reader<'_> {
    /// The file of a market.
    pub(super) fn host(&mut self, root: &mut Section<'_>) -> Option<HostConfig> {
        let maker = self.maker(root.table("maker"));
        let mut section = root.table("store");
        let store = self.required_file(&mut section, "path");
        section.finish();
        self.files.store.clone_from(&store);
        let realm = self.realm(root);
        let channels = root.tables("channel", "an array of tables, each begun with [[channel]]");
        let channels = collect(channels.into_iter().map(channel));
        let log = self.log(root.table("log"));
        Some(HostConfig { maker: maker?, realm: realm?, store: store?.value, channels: channels?, log })
    }

    fn maker(&mut self, mut section: Section<'_>) -> Option<MakerConfig> {
        self.files.delegate = self.required_file(&mut section, "key_file");
        let market_id = section.required("market_id", "a UUID", parsed);
        let chain_id = section.optional("chain_id", |node| integer(node, 0, u64::MAX)).unwrap_or(1);
        let contract = section.optional("verifying_contract", parsed);
        let verifying_contract = contract.unwrap_or(Address::new([0; 20]));
        let words = [("verified", OfferPolicy::Verified), ("any", OfferPolicy::Any)];
        let offers = section.optional("offers", |node| word(node, &words)).unwrap_or_default();
        let max_in_flight = section.optional("max_in_flight", |node| integer(node, 1, 4096)).unwrap_or(64);
        let buy_patience = section.optional("buy_patience", positive).unwrap_or(SECONDS(25));
        let sell_timeout = section.optional("sell_timeout", positive).unwrap_or(SECONDS(10));
        let grace = section.optional("grace", duration).unwrap_or(SECONDS(10));
        section.finish();
        Some(MakerConfig {
            market_id: market_id?.value,
            chain_id,
            verifying_contract,
            offers,
            max_in_flight,
            buy_patience,
            sell_timeout,
            grace,
        })
    }

    fn realm(&mut self, root: &mut Section<'_>) -> Option<RealmConfig> {
        if !root.has("market") {
            return self.router(root).map(RealmConfig::Own);
        }
        if root.has("router") {
            root.complain(ProblemKind::value(
                "has a [router] of its own, or joins one by [market], not both",
            ));
            return None;
        }
        let mut section = root.table("market");
        let market = self.connection(&mut section);
        let force_reregister = section.optional("force_reregister", boolean).unwrap_or(false);
        section.finish();
        market.map(|market| RealmConfig::Other { market, force_reregister })
    }

    fn router(&mut self, root: &mut Section<'_>) -> Option<RouterConfig> {
        let mut section = root.table("router");
        let listen = section.required("listen", "a list of addresses such as \"127.0.0.1:8080\"", addresses);
        let realm = section.required("realm", "the name of a realm", |node| uri_that_is(node, "realm"));
        let spoken = section.optional("serializers", serializers).unwrap_or(Serializer::ALL.to_vec());
        let anonymous = section.located("anonymous", non_empty);
        let connections = section.optional("max_connections", |node| integer(node, 1, 65536));
        let bytes = section.optional("max_message_bytes", |node| integer(node, 64 << 10, 1 << 30));
        let depth = |node| integer(node, 8, xbr_core::cbor::MAX_DEPTH);
        let max_depth = section.optional("max_depth", depth).unwrap_or(64);
        let handshake_timeout = section.optional("handshake_timeout", positive).unwrap_or(SECONDS(10));
        let ping_interval = section.optional("ping_interval", duration).unwrap_or(SECONDS(20));
        let ping_timeout = section.optional("ping_timeout", positive).unwrap_or(SECONDS(10));
        section.finish();

        let roles = root.tables("role", "an array of tables, each begun with [[role]]");
        let roles = collect(roles.into_iter().map(role))?;
        if let Some(anonymous) = &anonymous {
            check_role(&roles, &anonymous.value)
                .unwrap_or_else(|problem| anonymous.complain(self.report, problem));
        }
        let principals = root.tables("principal", "an array of tables, each begun with [[principal]]");
        let principals = principals.into_iter().map(|section| self.principal(section, &roles));
        Some(RouterConfig {
            principals: collect(principals)?,
            listen: listen?.value,
            realm: realm?.value,
            serializers: spoken,
            anonymous: anonymous.map(|anonymous| anonymous.value),
            max_connections: connections.unwrap_or(1024),
            max_message_bytes: bytes.unwrap_or(4 * MIB),
            max_depth,
            handshake_timeout,
            ping_interval: Some(ping_interval).filter(|interval| !interval.is_zero()),
            ping_timeout,
            roles,
        })
    }

    fn principal(&mut self, mut section: Section<'_>, roles: &[Role]) -> Option<PrincipalConfig> {
        let authid = section.required("authid", "the name of somebody who may join", |node| {
            let authid = non_empty(node)?;
            if [MARKET_MAKER_ROLE, OPERATOR].contains(&authid.as_str()) {
                return Err(ProblemKind::value("is a member of the market itself; choose another name"));
            }
            Ok(authid)
        });
        let role = section.required("role", "the name of a [[role]]", |node| {
            let role = text(node)?;
            check_role(roles, &role).map(|()| role)
        });
        let public_key = section.optional("public_key", ed25519_key);
        let ticket_file = self.file(&mut section, "ticket_file");
        section.finish();
        if public_key.is_some() == ticket_file.is_some() {
            section.complain(ProblemKind::value("needs either a ticket_file or a public_key"));
            return None;
        }
        self.files.tickets.extend(ticket_file);
        Some(PrincipalConfig { authid: authid?.value, role: role?.value, public_key })
    }
}

fn role(mut section: Section<'_>) -> Option<Role> {
    let name = section.required("name", "the name of the role", |node| {
        let name = non_empty(node)?;
        if [MARKET_MAKER_ROLE, OPERATOR].contains(&name.as_str()) {
            return Err(ProblemKind::value("is a role of the market itself; choose another name"));
        }
        Ok(name)
    });
    let disclose = section.optional("disclose", boolean).unwrap_or(false);
    let mut rules = Vec::new();
    for rule in section.tables("rules", "a list of tables such as { uri = \"io.example\", subscribe = true }")
    {
        rules.extend(self::rule(rule));
    }
    section.finish();
    let mut role = Role::new(name?.value, rules);
    (role.disclose_caller, role.disclose_publisher) = (disclose, disclose);
    Some(role)
}

fn rule(mut section: Section<'_>) -> Option<Rule> {
    let pattern = pattern(&mut section, true);
    let mut may = |action| section.optional(action, boolean).unwrap_or(false);
    let (call, register, publish, subscribe) =
        (may("call"), may("register"), may("publish"), may("subscribe"));
    section.finish();
    let (uri, matching) = pattern?;
    Some(Rule { uri, matching, call, register, publish, subscribe })
}

fn channel(mut section: Section<'_>) -> Option<ChannelConfig> {
    let buyer = section.optional("buyer", parsed).map(Member::Buyer);
    let seller = section.optional("seller", parsed).map(Member::Seller);
    let amount = section.required("amount", XBR, amount);
    section.finish();
    match (buyer, seller) {
        (Some(member), None) | (None, Some(member)) => Some(ChannelConfig { member, amount: amount?.value }),
        _ => {
            section.complain(ProblemKind::value("needs the address of either a buyer or a seller"));
            None
        }
    }
}

fn check_role(roles: &[Role], name: &str) -> Result<(), ProblemKind> {
    if roles.iter().any(|role| role.name == name) {
        return Ok(());
    }
    Err(ProblemKind::Value { reason: format!("there is no [[role]] with the name {:?}", shorten(name)) })
}

fn addresses(node: Node) -> Result<Vec<SocketAddr>, ProblemKind> {
    let addresses = list(node, "a list of addresses such as \"127.0.0.1:8080\"")?.into_iter();
    addresses
        .map(|node| {
            let address = text(node)?;
            let reason = || format!("must be an address and a port, got {:?}", shorten(&address));
            address.parse().map_err(|_| ProblemKind::Value { reason: reason() })
        })
        .collect()
}

fn ed25519_key(node: Node) -> Result<[u8; 32], ProblemKind> {
    let mut key = [0; 32];
    match hex::decode_to_slice(text(node)?, &mut key) {
        Ok(()) => Ok(key),
        Err(_) => Err(ProblemKind::value("an ed25519 public key must be 64 hex digits")),
    }
}
