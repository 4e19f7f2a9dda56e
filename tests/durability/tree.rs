//! A subtree as a client knows it: what must be there after which operations.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::client::Http;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Increment(String),
    Create(String, String),
    /// A child, by its parent.
    DeleteAgent(String, String),
    /// A subtree, listed or not.
    Delete(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) count: u64,
    pub(crate) agents: Vec<String>,
}

/// Every object that exists, by its path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree(pub(crate) BTreeMap<String, Node>);

impl Operation {
    /// The message that asks for it over a socket of its object.
    pub(crate) fn message(&self, id: usize) -> Value {
        match self {
            Self::Increment(_) => json!({"type": "increment", "id": id}),
            Self::Create(_, name) => json!({"type": "createAgent", "id": id, "payload": {"name": name}}),
            Self::DeleteAgent(_, name) => json!({"type": "deleteAgent", "id": id, "payload": {"name": name}}),
            Self::Delete(path) => panic!("{path} is not deleted by a message"),
        }
    }

    /// Does it over HTTP.
    pub(crate) async fn request(&self, http: &mut Http) -> std::io::Result<()> {
        let reply = match self {
            Self::Increment(path) => http.increment(path).await?,
            Self::Create(path, name) => http.create(path, name).await?,
            Self::DeleteAgent(path, name) => http.call(path, "deleteAgent", &json!({"name": name})).await?,
            Self::Delete(path) => http.delete(path).await?,
        };
        assert_eq!(reply.status, 200, "{self:?}: {reply:?}");
        Ok(())
    }
}

impl Tree {
    pub(crate) fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Increment(path) => self.0.entry(path.clone()).or_default().count += 1,
            Operation::Create(path, name) => {
                self.0.entry(path.clone()).or_default().agents.push(name.clone());
                self.0.entry(format!("{path}/{name}")).or_default();
            }
            Operation::DeleteAgent(path, name) => self.delete(&format!("{path}/{name}")),
            Operation::Delete(path) => self.delete(path),
        }
    }

    fn delete(&mut self, path: &str) {
        let below = format!("{path}/");
        self.0.retain(|other, _| other != path && !other.starts_with(&below));
        let (parent, name) = path.rsplit_once('/').unwrap();
        if let Some(parent) = self.0.get_mut(parent) {
            parent.agents.retain(|agent| agent != name);
        }
    }

    /// What the server has below a path: its list of what exists, and the state of each.
    pub(crate) async fn read(http: &mut Http, root: &str) -> Self {
        let mut tree = Self::default();
        for (path, children) in http.objects(root).await {
            let state = http.get(&path).await.unwrap().ok().json();
            let agents: Vec<String> = serde_json::from_value(state["agents"].clone()).unwrap();
            assert_eq!(agents.len() as u64, children, "{path}: the list of objects and its state do not agree");
            tree.0.insert(path, Node { count: state["data"]["count"].as_u64().unwrap(), agents });
        }
        tree
    }

    /// Becomes what the server has, which must be this and the first few of the operations that were not answered.
    #[track_caller]
    pub(crate) fn settle(&mut self, pending: &mut VecDeque<Operation>, found: &Self) {
        let answered = self.clone();
        let operations = std::mem::take(pending);
        for operation in std::iter::once(None).chain(operations.iter().map(Some)) {
            if let Some(operation) = operation {
                self.apply(operation);
            }
            if self == found {
                return;
            }
        }
        panic!("acknowledged: {answered:#?}\nnot answered: {operations:#?}\nfound: {found:#?}");
    }
}
