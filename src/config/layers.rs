//! The layers that are laid over each other, and which setting came from where.
//!
//! A setting is a key of a section with its value and its [`Source`]. A later layer replaces what an earlier one set, but
//! every layer is checked: a bad value is reported even where a higher layer hides it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::auth::{self, Auth};
use super::{Config, Error, Flags, Problem, Source};
use crate::auth::HIDDEN;

/// The file that is read when no other is named.
const DEFAULT_FILE: &str = "config.toml";
/// What a variable that is a setting starts with.
const PREFIX: &str = "FLEET_";
/// What stands between section and key in a variable; one that lacks it (`FLEET_URL`) is not a setting.
const SEPARATOR: &str = "__";
/// The section whose keys are patterns instead of names.
const ROUTES: &str = "routes";
/// Least likeness, from 0 to 1, of a name that is offered instead of an unknown one.
const LIKENESS: f64 = 0.6;
/// Most characters of a value that an error shows.
const SHOWN_CHARACTERS: usize = 80;

/// A file that parsed as TOML.
pub(super) struct ConfigFile {
    path: PathBuf,
    table: Table,
}

impl ConfigFile {
    /// Reads the named file, or `./config.toml` if there is one.
    ///
    /// # Errors
    /// [`Error::Unreadable`], also for a named file that is not there, or [`Error::Syntax`].
    pub(super) fn read(named: Option<&Path>) -> Result<Option<Self>, Error> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text).map(Some),
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::Unreadable { path: path.to_owned(), error }),
        }
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    /// [`Error::Syntax`].
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let path = path.to_owned();
        match text.parse::<Table>() {
            Ok(table) => Ok(Self { path, table }),
            Err(error) => {
                let start = error.span().map_or(0, |span| span.start);
                let before = text.get(..start).unwrap_or(text);
                Err(Error::Syntax {
                    path,
                    line: before.matches('\n').count() + 1,
                    column: before.rsplit('\n').next().unwrap_or(before).chars().count() + 1,
                    message: error.message().trim().replace('\n', ", "),
                })
            }
        }
    }
}

/// The defaults with the settings of further layers over them, and the problems met so far.
pub(super) struct Layers {
    defaults: Table,
    merged: Table,
    problems: Vec<Problem>,
}

impl Layers {
    /// Starts with the defaults, whose keys are the keys there are.
    pub(super) fn over(defaults: &Config) -> Self {
        let secrets = defaults.auth.revealed();
        let mut defaults = Table::try_from(defaults).expect("every section is a table and every key a string");
        // What was serialized is hidden.
        defaults.insert(auth::SECTION.to_owned(), Value::Table(secrets));
        Self { merged: defaults.clone(), defaults, problems: Vec::new() }
    }

    /// Adds what a file says.
    pub(super) fn add_file(&mut self, file: ConfigFile) {
        let from = Source::File(file.path);
        for (section, value) in file.table {
            match (self.defaults.contains_key(&section), value) {
                (true, Value::Table(settings)) => {
                    for (name, value) in settings {
                        self.set(&section, &name, value, &from);
                    }
                }
                (true, value) => {
                    let message = format!("expected a table: [{section}]");
                    self.refuse(section, &value, &from, message);
                }
                (false, _) => self.refuse_unknown(section, &from),
            }
        }
    }

    /// Adds the variables that are settings, and `RUST_LOG`, which everybody expects to work, over `log.filter`.
    pub(super) fn add_environment(&mut self, environment: impl IntoIterator<Item = (OsString, OsString)>) {
        let mut variables: Vec<(String, OsString)> =
            environment.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        // In an order of their own, so that what is reported does not depend on how the environment was built.
        variables.sort();
        let mut rust_log = None;
        for (name, value) in variables {
            let setting = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once(SEPARATOR));
            if let Some((section, key)) = setting {
                self.add_variable(&section.to_lowercase(), &key.to_lowercase(), &value, &name);
            } else if name == "RUST_LOG" && !value.is_empty() {
                rust_log = Some(value);
            }
        }
        if let Some(value) = rust_log {
            self.add_variable("log", "filter", &value, "RUST_LOG");
        }
    }

    fn add_variable(&mut self, section: &str, key: &str, value: &OsString, variable: &str) {
        let from = Source::Variable(variable.to_owned());
        if section == ROUTES {
            let advice = "routes are set in the file alone, as a pattern is no name of a variable".to_owned();
            self.problems.push(Problem::UnknownKey { key: format!("{section}.{key}"), from, advice });
            return;
        }
        if let Some(text) = value.to_str() {
            let value = self.typed(section, key, text);
            self.set(section, key, value, &from);
        } else {
            let value = Value::String(value.to_string_lossy().into_owned());
            self.refuse(format!("{section}.{key}"), &value, &from, "expected UTF-8".to_owned());
        }
    }

    /// Adds the flags that were given.
    pub(super) fn add_flags(&mut self, flags: &Flags) {
        let settings =
            [("server", "listen", "--listen", &flags.listen), ("storage", "data_dir", "--data-dir", &flags.data_dir)];
        for (section, key, flag, value) in settings {
            if let Some(text) = value {
                self.set(section, key, Value::String(text.clone()), &Source::Flag(flag));
            }
        }
    }

    /// The configuration, if nothing was wrong with any layer.
    ///
    /// # Errors
    /// [`Error::Settings`] with every problem.
    pub(super) fn finish(mut self) -> Result<Config, Error> {
        if self.problems.is_empty() {
            match Config::deserialize(self.merged) {
                Ok(config) => match config.auth.conflict() {
                    None => return Ok(config),
                    Some(conflict) => self.problems.push(Problem::Conflict(conflict)),
                },
                Err(error) => self.problems.push(Problem::Conflict(error.message().to_owned())),
            }
        }
        Err(Error::Settings(self.problems))
    }

    /// Makes of a variable's text what its key has by default: a number, a switch, a list separated by commas or as the file
    /// would have it, else a string. Text that is no such thing stays text, and is refused with what the key accepts.
    fn typed(&self, section: &str, key: &str, text: &str) -> Value {
        let string = || Value::String(text.to_owned());
        match self.defaults.get(section).and_then(|settings| settings.get(key)) {
            Some(Value::Integer(_)) => text.trim().parse().map_or_else(|_| string(), Value::Integer),
            Some(Value::Boolean(_)) => text.trim().parse().map_or_else(|_| string(), Value::Boolean),
            Some(Value::Array(_)) => {
                if let Some(list) = list_of(text) {
                    return list;
                }
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
            }
            _ => string(),
        }
    }

    fn set(&mut self, section: &str, name: &str, value: Value, from: &Source) {
        let key = if section == ROUTES { format!("{section}.{name:?}") } else { format!("{section}.{name}") };
        let known = self.defaults.get(section).and_then(Value::as_table);
        if section != ROUTES && !known.is_some_and(|settings| settings.contains_key(name)) {
            self.refuse_unknown(key, from);
            return;
        }
        match Config::deserialize(with(self.defaults.clone(), section, name, value.clone())) {
            Ok(_) => self.merged = with(std::mem::take(&mut self.merged), section, name, value),
            Err(error) => self.refuse(key, &value, from, error.message().to_owned()),
        }
    }

    fn refuse(&mut self, key: String, value: &Value, from: &Source, message: String) {
        let value = if Auth::is_secret(&key) { HIDDEN.to_owned() } else { shortened(value) };
        self.problems.push(Problem::BadValue { key, from: from.clone(), value, message });
    }

    fn refuse_unknown(&mut self, key: String, from: &Source) {
        let is_variable = matches!(from, Source::Variable(_));
        let nearest = self
            .names()
            // A section is no variable.
            .filter(|name| !is_variable || name.contains('.'))
            .map(|name| (likeness(&key, &name), name))
            .filter(|(likeness, _)| *likeness >= LIKENESS)
            .max_by(|(one, _), (other, _)| one.total_cmp(other));
        let advice = match nearest {
            Some((_, name)) if is_variable => format!("did you mean `{name}` ({})?", variable(&name)),
            Some((_, name)) => format!("did you mean `{name}`?"),
            None => self.choice(&key),
        };
        self.problems.push(Problem::UnknownKey { key, from: from.clone(), advice });
    }

    /// The names there are, where an unknown key is like none of them: the keys of its section, or the sections.
    fn choice(&self, key: &str) -> String {
        let list = |table: &Table| table.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let section = key.split('.').next().unwrap_or(key);
        match self.defaults.get(section).and_then(Value::as_table) {
            Some(settings) => format!("the keys of [{section}] are {}", list(settings)),
            None => format!("the sections are {}", list(&self.defaults)),
        }
    }

    /// Every name there is: the sections, and their keys.
    fn names(&self) -> impl Iterator<Item = String> {
        self.defaults.iter().flat_map(|(section, settings)| {
            let keys = settings.as_table().into_iter().flat_map(Table::keys);
            std::iter::once(section.clone()).chain(keys.map(move |key| format!("{section}.{key}")))
        })
    }
}

fn with(mut table: Table, section: &str, name: &str, value: Value) -> Table {
    if let Some(Value::Table(settings)) = table.get_mut(section) {
        settings.insert(name.to_owned(), value);
    }
    table
}

/// How alike an unknown key and a right one are. A key that stands in the wrong section, or in none, is alike by its last
/// part, and a little less so, that the same section wins.
fn likeness(unknown: &str, name: &str) -> f64 {
    let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    let whole = strsim::normalized_damerau_levenshtein(unknown, name);
    if !name.contains('.') {
        return whole;
    }
    whole.max(0.95 * strsim::normalized_damerau_levenshtein(&last(unknown), &last(name)))
}

/// A list as a file would have it, `["a", "b"]`.
fn list_of(text: &str) -> Option<Value> {
    let document: Table = format!("list = {text}").parse().ok()?;
    document.get("list").filter(|list| list.is_array() && document.len() == 1).cloned()
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', SEPARATOR).to_uppercase())
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
