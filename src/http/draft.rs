//! A request for a job while its fields come in: what they are called, and whether they may be.

use std::borrow::Cow;

use super::problem::{Code, Problem, quoted};
use crate::job::Parameters;
use crate::notifier::address::{CallbackRefused, check_url};
use crate::shared::Shared;
use crate::task::Task;

/// Which fields of a request are not parameters of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contract {
    /// `POST /send`: `callback` alone, and it must be there.
    Send,
    /// `POST /jobs`: `task`, `callback` and `coalesce`.
    Jobs,
}

/// The fields of one request, from its query and its form.
#[derive(Debug)]
pub(crate) struct Draft {
    contract: Contract,
    pub(crate) task: Option<String>,
    pub(crate) callback: Option<String>,
    coalesce: Option<String>,
    pub(crate) parameters: Parameters,
}

impl Draft {
    /// Nothing has come in yet.
    pub(crate) fn new(contract: Contract) -> Draft {
        Draft {
            contract,
            task: None,
            callback: None,
            coalesce: None,
            parameters: Parameters::new(),
        }
    }

    /// Takes in the fields of a query.
    pub(crate) fn read_query(&mut self, query: &str) -> Result<(), Problem> {
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            self.set(name, value.into_owned())?;
        }
        Ok(())
    }

    /// Takes in one field.
    pub(crate) fn set(&mut self, name: Cow<'_, str>, value: String) -> Result<(), Problem> {
        let reserved = match (&*name, self.contract) {
            ("callback", _) => &mut self.callback,
            ("task", Contract::Jobs) => &mut self.task,
            ("coalesce", Contract::Jobs) => &mut self.coalesce,
            (_, _) => {
                self.parameters.push(name, value);
                return Ok(());
            }
        };
        // Forms send the fields that nobody has filled in.
        if value.trim().is_empty() {
            return Ok(());
        }
        match reserved.replace(value) {
            None => Ok(()),
            Some(_) => Err(Problem::new(
                Code::BadParameter,
                format!("`{name}` was given twice. Send it once, in the query or in the form."),
            )),
        }
    }

    /// Whether a queued or running job may stand for this one.
    pub(crate) fn coalesce(&self) -> Result<bool, Problem> {
        match self.coalesce.as_deref() {
            None | Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(Problem::new(
                Code::BadParameter,
                format!("`coalesce` is true or false, not {}.", quoted(other)),
            )),
        }
    }

    /// The task asked for, or the default one.
    pub(crate) fn task<'s>(&self, shared: &'s Shared) -> Result<&'s Task, Problem> {
        let Some(name) = &self.task else { return Ok(shared.tasks.default_task()) };
        shared.tasks.get(name).ok_or_else(|| {
            let names: Vec<&str> = shared.tasks.names().collect();
            let names = names.join(", ");
            Problem::new(
                Code::UnknownTask,
                format!("There is no task {}. There are: {names}.", quoted(name)),
            )
        })
    }

    /// Looks at everything that has come in by now, and at the input's content type: what is wrong
    /// already need not be followed by a long upload.
    pub(crate) fn check(&self, shared: &Shared, content_type: Option<&str>) -> Result<(), Problem> {
        let task = self.task(shared)?;
        if !task.options.takes(content_type) {
            let declared = content_type.unwrap_or("this");
            let types = task.options.accepted_types().join(", ");
            let takes = match types.as_str() {
                "" => format!("does not take {declared}"),
                types => format!("takes {types}, not {declared}"),
            };
            let detail =
                format!("The task `{}` {takes}. Send the input's own content type.", task.name);
            let problem = Problem::new(Code::UnsupportedType, detail);
            return Err(if types.is_empty() {
                problem
            } else {
                problem.with("Accept-Post", types)
            });
        }
        if let Some(url) = &self.callback {
            check_url(url, shared.callbacks).map_err(|refused| bad_callback(&refused))?;
        }
        self.coalesce()?;
        Ok(())
    }

    /// Looks at what can only be judged when everything has come in.
    pub(crate) fn check_complete(&self, shared: &Shared) -> Result<(), Problem> {
        if self.contract == Contract::Send && self.callback.is_none() {
            return Err(Problem::new(
                Code::MissingCallback,
                "Add the field `callback`: the URL that the result is to be sent to.",
            ));
        }
        let task = self.task(shared)?;
        task.options.check(&self.parameters).map_err(|why| Problem::new(Code::BadParameter, why))
    }
}

fn bad_callback(refused: &CallbackRefused) -> Problem {
    let code = match refused {
        CallbackRefused::Address { .. } => Code::CallbackRefused,
        CallbackRefused::TooLong
        | CallbackRefused::NotAUrl
        | CallbackRefused::Control
        | CallbackRefused::Backslash
        | CallbackRefused::Percent
        | CallbackRefused::AtSign
        | CallbackRefused::NotAscii(_)
        | CallbackRefused::Scheme
        | CallbackRefused::NoTls
        | CallbackRefused::Port
        | CallbackRefused::OddHost(_) => Code::BadCallback,
    };
    let reason = refused.to_string();
    Problem::new(code, sentence(&reason))
}

/// A reason as a sentence.
fn sentence(reason: &str) -> String {
    let mut chars = reason.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(['.']).collect()
}
