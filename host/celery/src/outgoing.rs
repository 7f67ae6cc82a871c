//! Messages that leave: always protocol 2, always JSON.

use lovage_core::{JsonPart, Parts, Publication, Timestamp, write_json_string};

use crate::iso::format_timestamp;
use crate::repr;

/// A call that is to be sent. Every JSON value is one that was checked.
pub(crate) struct Outgoing<'a> {
    pub(crate) task: &'a str,
    pub(crate) id: &'a str,
    pub(crate) root_id: &'a str,
    pub(crate) parent_id: Option<&'a str>,
    pub(crate) group: Option<&'a str>,
    pub(crate) group_index: Option<i64>,
    pub(crate) retries: u32,
    pub(crate) eta: Option<Timestamp>,
    pub(crate) expires: Option<Timestamp>,
    /// `timelimit`, as the header has it: the hard limit first.
    pub(crate) time_limit: [JsonPart<'a>; 2],
    pub(crate) shadow: JsonPart<'a>,
    pub(crate) ignore_result: Option<bool>,
    pub(crate) replaced_task_nesting: u32,
    pub(crate) stamped_headers: JsonPart<'a>,
    /// An object.
    pub(crate) stamps: JsonPart<'a>,
    /// More headers, an object; they stand over those above.
    pub(crate) headers: JsonPart<'a>,
    pub(crate) args: JsonPart<'a>,
    pub(crate) kwargs: JsonPart<'a>,
    pub(crate) callbacks: JsonPart<'a>,
    pub(crate) errbacks: JsonPart<'a>,
    pub(crate) chain: JsonPart<'a>,
    pub(crate) chord: JsonPart<'a>,
    pub(crate) reply_to: Option<&'a str>,
    pub(crate) exchange: &'a str,
    pub(crate) routing_key: &'a str,
    pub(crate) priority: u8,
    /// Who sends it: informative.
    pub(crate) origin: &'a str,
}

impl<'a> Outgoing<'a> {
    /// A call with nothing but its name, its id and its place to go.
    pub(crate) fn new(task: &'a str, id: &'a str, queue: &'a str, origin: &'a str) -> Self {
        Self {
            task,
            id,
            root_id: id,
            parent_id: None,
            group: None,
            group_index: None,
            retries: 0,
            eta: None,
            expires: None,
            time_limit: [JsonPart::NULL; 2],
            shadow: JsonPart::NULL,
            ignore_result: None,
            replaced_task_nesting: 0,
            stamped_headers: JsonPart::NULL,
            stamps: JsonPart::EMPTY_OBJECT,
            headers: JsonPart::EMPTY_OBJECT,
            args: JsonPart::EMPTY_ARRAY,
            kwargs: JsonPart::EMPTY_OBJECT,
            callbacks: JsonPart::NULL,
            errbacks: JsonPart::NULL,
            chain: JsonPart::NULL,
            chord: JsonPart::NULL,
            reply_to: None,
            exchange: "",
            routing_key: queue,
            priority: 0,
            origin,
        }
    }

    /// The message. `now` is what a lifetime in the queue counts from.
    pub(crate) fn publication(&self, now: Timestamp) -> Publication {
        Publication {
            exchange: self.exchange.into(),
            routing_key: self.routing_key.into(),
            priority: self.priority,
            not_before: self.eta,
            parts: Parts {
                content_type: "application/json".into(),
                content_encoding: "utf-8".into(),
                headers: self.header_text(),
                properties: self.property_text(now),
                body: self.body_text().into(),
            },
        }
    }

    fn body_text(&self) -> String {
        let room = self.args.as_str().len() + self.kwargs.as_str().len() + 128;
        let mut text = String::with_capacity(room);
        text.push('[');
        text.push_str(self.args.as_str());
        text.push_str(", ");
        text.push_str(self.kwargs.as_str());
        text.push_str(", ");
        let mut embed = Object::new(&mut text, JsonPart::EMPTY_OBJECT);
        embed.json("callbacks", self.callbacks.as_str());
        embed.json("errbacks", self.errbacks.as_str());
        embed.json("chain", self.chain.as_str());
        embed.json("chord", self.chord.as_str());
        embed.end();
        text.push(']');
        text
    }

    fn header_text(&self) -> String {
        let mut text = String::with_capacity(640);
        let mut headers = Object::new(&mut text, self.headers);
        // The language is informative: workers of every language read these messages.
        headers.text("lang", Some("py"));
        headers.text("task", Some(self.task));
        headers.text("id", Some(self.id));
        headers.json("shadow", self.shadow.as_str());
        headers.text("eta", self.eta.map(format_timestamp).as_deref());
        headers.text("expires", self.expires.map(format_timestamp).as_deref());
        headers.text("group", self.group);
        headers.json("group_index", &self.group_index.map_or("null".into(), |n| n.to_string()));
        headers.json("retries", &self.retries.to_string());
        let [hard, soft] = self.time_limit;
        headers.json("timelimit", &format!("[{}, {}]", hard.as_str(), soft.as_str()));
        headers.text("root_id", Some(self.root_id));
        headers.text("parent_id", self.parent_id);
        headers.text("argsrepr", Some(&repr::arguments(self.args)));
        headers.text("kwargsrepr", Some(&repr::value(self.kwargs)));
        headers.text("origin", Some(self.origin));
        headers.json(
            "ignore_result",
            match self.ignore_result {
                None => "null",
                Some(true) => "true",
                Some(false) => "false",
            },
        );
        headers.json("replaced_task_nesting", &self.replaced_task_nesting.to_string());
        headers.json("stamped_headers", self.stamped_headers.as_str());
        headers.json("stamps", self.stamps.as_str());
        headers.end();
        text
    }

    fn property_text(&self, now: Timestamp) -> String {
        let mut text = String::with_capacity(160);
        let mut properties = Object::new(&mut text, JsonPart::EMPTY_OBJECT);
        properties.text("correlation_id", Some(self.id));
        if self.reply_to.is_some() {
            properties.text("reply_to", self.reply_to);
        }
        properties.json("delivery_mode", "2");
        if let Some(expires) = self.expires {
            properties.text("expiration", Some(&expiration(expires, now)));
        }
        properties.end();
        text
    }
}

/// The property `expiration`: how long the message may wait, in milliseconds, as text.
pub(crate) fn expiration(expires: Timestamp, now: Timestamp) -> String {
    expires.until(now).as_millis().to_string()
}

/// A JSON object on its way into a text.
pub(crate) struct Object<'t, 'a> {
    text: &'t mut String,
    /// Members that stand over those written one by one: those of the same name are passed over,
    /// and all of these follow at the end.
    over: JsonPart<'a>,
    separator: &'static str,
}

impl<'t, 'a> Object<'t, 'a> {
    pub(crate) fn new(text: &'t mut String, over: JsonPart<'a>) -> Self {
        text.push('{');
        Self { text, over, separator: "" }
    }

    /// A member whose value is JSON.
    pub(crate) fn json(&mut self, name: &str, value: &str) {
        if self.over.member(name).is_none() {
            self.name(name);
            self.text.push_str(value);
        }
    }

    /// A member whose value is text, or null.
    pub(crate) fn text(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return self.json(name, "null") };
        if self.over.member(name).is_none() {
            self.name(name);
            write_json_string(self.text, value);
        }
    }

    /// A member that is copied as it stands: its name in quotes, its value as JSON.
    pub(crate) fn quoted(&mut self, name: &str, value: &str) {
        self.text.push_str(self.separator);
        self.text.push_str(name);
        self.text.push_str(": ");
        self.text.push_str(value);
        self.separator = ", ";
    }

    pub(crate) fn end(self) {
        let Self { text, over, mut separator } = self;
        over.each_quoted_member(|name, value| {
            text.push_str(separator);
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value.as_str());
            separator = ", ";
        });
        text.push('}');
    }

    fn name(&mut self, name: &str) {
        self.text.push_str(self.separator);
        write_json_string(self.text, name);
        self.text.push_str(": ");
        self.separator = ", ";
    }
}
