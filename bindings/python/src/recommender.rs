//! A policy opened once and asked often.

use pyo3::prelude::*;

use crate::error::raise;

/// A policy ready to recommend, without statements. Each call sees the file as it is then.
#[pyclass(module = "sidql", frozen)]
pub(crate) struct Recommender {
    pub(crate) inner: sidql::Recommender,
    pub(crate) policy: String,
}

#[pymethods]
impl Recommender {
    /// The best items after a user's history, without those in it, with their scores.
    #[pyo3(signature = (user, count = 10))]
    fn for_user(&self, py: Python<'_>, user: &str, count: usize) -> PyResult<Vec<(String, f32)>> {
        py.detach(|| self.inner.for_user(user, count)).map_err(|error| raise(&error, ""))
    }

    /// The best items after a history of item ids, oldest first, without those in it, with their scores.
    #[pyo3(signature = (history, count = 10))]
    fn after(
        &self,
        py: Python<'_>,
        history: Vec<String>,
        count: usize,
    ) -> PyResult<Vec<(String, f32)>> {
        let history: Vec<&str> = history.iter().map(String::as_str).collect();
        py.detach(|| self.inner.after(&history, count)).map_err(|error| raise(&error, ""))
    }

    /// The name of the policy.
    #[getter]
    fn policy(&self) -> &str {
        &self.policy
    }

    fn __repr__(&self) -> String {
        format!("<sidql.Recommender, policy {}>", self.policy)
    }
}
