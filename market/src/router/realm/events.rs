//! Publications and subscriptions.

use wampproto::messages::message::Message as Routed;
use wampproto::messages::publish::Publish;
use wampproto::messages::subscribe::Subscribe;
use wampproto::messages::types::Value as RoutedValue;
use wampproto::messages::unsubscribe::Unsubscribe;
use xbr_wamp::Match;
use xbr_wamp::message::{Dict, Message, Payload};

use super::request::{Options, check, limit};
use super::{Delivery, Fault, Realm, Refusal, Violation, convert};
use crate::router::permissions::Action;

impl Realm {
    pub(super) fn subscribe(
        &mut self,
        session: u64,
        request: u64,
        options: &Options<'_>,
        topic: String,
    ) -> Result<(), Fault> {
        let matching = self.check_subscribe(session, options, &topic)?;
        let options = convert::options([("match", Some(RoutedValue::str(matching.as_str())))]);
        let answer =
            self.ask_broker(session, &Subscribe { request_id: convert::id(request), options, topic })?;
        if let (Message::Subscribed { subscription, .. }, Some(member)) =
            (&answer, self.members.get_mut(&session))
        {
            member.subscriptions.insert(*subscription);
        }
        self.deliver(session, answer);
        Ok(())
    }

    fn check_subscribe(&self, session: u64, options: &Options<'_>, topic: &str) -> Result<Match, Refusal> {
        let matching = options.matching()?;
        if let Some(member) = self.members.get(&session) {
            check(&member.role, Action::Subscribe, topic, matching)?;
            let own = member.subscriptions.len();
            limit("subscriptions of the session", own, self.bounds.max_subscriptions)?;
        }
        let all = self.broker.subscriptions().count();
        limit("subscriptions in the realm", all, self.bounds.max_in_realm)?;
        Ok(matching)
    }

    pub(super) fn unsubscribe(&mut self, session: u64, request: u64, subscription: u64) -> Result<(), Fault> {
        let (request_id, subscription_id) = (convert::id(request), convert::id(subscription));
        let answer = self.ask_broker(session, &Unsubscribe { request_id, subscription_id })?;
        if let Some(member) = self.members.get_mut(&session) {
            member.subscriptions.remove(&subscription);
        }
        self.deliver(session, answer);
        Ok(())
    }

    pub(super) fn publish(
        &mut self,
        session: u64,
        request: u64,
        options: &Options<'_>,
        topic: String,
        payload: &Payload,
    ) -> Result<(), Fault> {
        let (options, disclosed) = self.check_publish(session, options, &topic)?;
        let publish = Publish { request_id: convert::id(request), options, topic, args: None, kwargs: None };
        let published = self.broker.receive_publish(convert::id(session), &publish);
        let published = published.map_err(|_| Violation::Unroutable)?;
        for event in published.events {
            let Some(Message::Event { subscription, publication, mut details, .. }) =
                convert::message(event.event.as_ref())
            else {
                continue;
            };
            details.extend(disclosed.iter().cloned());
            let to = event.recipients.into_iter().map(i64::unsigned_abs).collect();
            let message = Message::Event { subscription, publication, details, payload: payload.clone() };
            self.deliveries.push_back(Delivery::Event { to, message });
        }
        if let Some(ack) = published.ack.and_then(|ack| convert::message(ack.message.as_ref())) {
            self.deliver(session, ack);
        }
        Ok(())
    }

    fn check_publish(
        &self,
        session: u64,
        options: &Options<'_>,
        topic: &str,
    ) -> Result<(convert::Options, Dict), Refusal> {
        let sessions = |option| options.list(option, |id| id.as_u64().map(convert::id).map(RoutedValue::Int));
        let names = |option| options.list(option, |name| name.as_str().map(RoutedValue::str));
        let exclude_me = options.choice("exclude_me")?.map(RoutedValue::Bool);
        let acknowledge = convert::flag(options.flag("acknowledge")?);
        let disclose = options.flag("disclose_me")?;
        let mut disclosed = Dict::new();
        let lists = [
            ("exclude", sessions("exclude")?),
            ("eligible", sessions("eligible")?),
            ("exclude_authid", names("exclude_authid")?),
            ("eligible_authid", names("eligible_authid")?),
            ("exclude_authrole", names("exclude_authrole")?),
            ("eligible_authrole", names("eligible_authrole")?),
        ];
        if let Some(member) = self.members.get(&session) {
            check(&member.role, Action::Publish, topic, Match::Exact)?;
            if disclose || member.role.disclose_publisher {
                disclosed =
                    member.disclosed(session, ["publisher", "publisher_authid", "publisher_authrole"]);
            }
        }
        let mut checked = convert::options(lists.map(|(option, list)| (option, list.map(RoutedValue::List))));
        checked.extend(convert::options([("exclude_me", exclude_me), ("acknowledge", acknowledge)]));
        Ok((checked, disclosed))
    }

    /// What the broker has to say to a message of a session.
    fn ask_broker(&mut self, session: u64, message: &dyn Routed) -> Result<Message, Violation> {
        let routed = self.broker.receive_message(convert::id(session), message);
        let routed = routed.map_err(|_| Violation::Unroutable)?;
        convert::message(routed.message.as_ref()).ok_or(Violation::Unroutable)
    }
}
