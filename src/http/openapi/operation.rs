//! One operation of the document, put together from the types and errors that its handler works with.
//!
//! Knows no route; what each takes and answers is in the files beside this one.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderName, StatusCode, header};
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{
        AllOfBuilder, Content, ContentBuilder, HttpMethod, Ref, RefOr, Required, Response, ResponseBuilder,
        Schema, SecurityRequirement,
        example::ExampleBuilder,
        header::{Header, HeaderBuilder},
        path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
    },
};

use super::shapes::{text, whole_number};
use crate::http::reply::ApiError;

pub(super) const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";

/// What a 400 may look like; the detail says what is wrong.
pub(super) const BAD_REQUEST: ApiError = ApiError::BadRequest("A query parameter is there twice.");
/// What a 429 may look like.
pub(super) const TOO_MANY: ApiError = ApiError::TooManyRequests { retry_after_s: 42 };

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Everyone,
    User,
    Staff,
    Admin,
    /// Everyone; whoever has the admin key is told more.
    EveryoneOrAdmin,
}

/// The names of the security schemes.
pub(super) const USER_SESSION: &str = "userSession";
pub(super) const STAFF_SESSION: &str = "staffSession";
pub(super) const ADMIN_KEY: &str = "adminKey";

/// Schemas by their names in the document.
pub(super) type Schemas = BTreeMap<String, RefOr<Schema>>;

/// An operation in the making.
pub(super) struct Described {
    pub(super) path: &'static str,
    pub(super) method: HttpMethod,
    operation: OperationBuilder,
    access: Access,
    problems: Vec<ApiError>,
    pub(super) schemas: Schemas,
}

/// Begins the description of a route's method; the id is what generated clients call it.
pub(super) fn route(method: HttpMethod, path: &'static str, id: &str, summary: &str) -> Described {
    Described {
        path,
        method,
        operation: OperationBuilder::new().operation_id(Some(id)).summary(Some(summary)),
        access: Access::Everyone,
        // A bug can be everywhere.
        problems: vec![ApiError::Internal],
        schemas: Schemas::new(),
    }
}

impl Described {
    fn with(mut self, change: impl FnOnce(OperationBuilder) -> OperationBuilder) -> Self {
        self.operation = change(self.operation);
        self
    }

    pub(super) fn tag(self, tag: &str) -> Self {
        self.with(|operation| operation.tag(tag))
    }

    /// What the summary doesn't tell.
    pub(super) fn about(self, description: &str) -> Self {
        self.with(|operation| operation.description(Some(description)))
    }

    pub(super) fn access(mut self, access: Access) -> Self {
        self.access = access;
        let scopes: [&str; 0] = [];
        let requirement = |name: &str| SecurityRequirement::new(name, scopes);
        match access {
            Access::Everyone => self.with(|operation| operation.securities(Some([]))),
            Access::User => {
                self.problems(&[ApiError::SessionInvalid]).with(|it| it.security(requirement(USER_SESSION)))
            }
            Access::Staff => {
                self.problems(&[ApiError::SessionInvalid]).with(|it| it.security(requirement(STAFF_SESSION)))
            }
            Access::Admin => self
                .problems(&[ApiError::AdminKeyInvalid, ApiError::NotFound])
                .with(|it| it.security(requirement(ADMIN_KEY))),
            Access::EveryoneOrAdmin => {
                self.with(|it| it.security(SecurityRequirement::default()).security(requirement(ADMIN_KEY)))
            }
        }
    }

    /// A parameter of the query that may be left out.
    pub(super) fn query(self, name: &str, description: &str, schema: impl Into<Schema>) -> Self {
        self.parameter(name, ParameterIn::Query, Required::False, description, schema)
    }

    /// A parameter of the query that must be there.
    pub(super) fn wanted_query(self, name: &str, description: &str, schema: impl Into<Schema>) -> Self {
        self.parameter(name, ParameterIn::Query, Required::True, description, schema)
    }

    /// A header that may be sent.
    pub(super) fn sent_header(self, name: &HeaderName, description: &str) -> Self {
        self.parameter(name.as_str(), ParameterIn::Header, Required::False, description, text())
    }

    /// A segment of the path, percent-encoded. A broken escape is a 400.
    pub(super) fn segment(self, name: &str, description: &str, schema: impl Into<Schema>) -> Self {
        self.parameter(name, ParameterIn::Path, Required::True, description, schema).problems(&[BAD_REQUEST])
    }

    /// A segment of the path that is one of a few names.
    pub(super) fn name(self, name: &str, description: &str, schema: impl Into<Schema>) -> Self {
        self.parameter(name, ParameterIn::Path, Required::True, description, schema)
    }

    fn parameter(
        self,
        name: &str,
        place: ParameterIn,
        required: Required,
        description: &str,
        schema: impl Into<Schema>,
    ) -> Self {
        let parameter: Parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(Some(description))
            .schema(Some(schema.into()))
            .build();
        self.with(|operation| operation.parameter(parameter))
    }

    /// The body, as JSON, with what can be wrong about it.
    pub(super) fn body<T: ToSchema>(mut self, required: Required, example: Value) -> Self {
        let content = ContentBuilder::new().schema(Some(self.schema::<T>())).example(Some(example)).build();
        let body = RequestBodyBuilder::new().required(Some(required)).content(JSON, content).build();
        self.with(|operation| operation.request_body(Some(body))).problems(&[
            BAD_REQUEST,
            ApiError::TooLarge,
            ApiError::UnsupportedMediaType,
        ])
    }

    /// A body of another type.
    pub(super) fn raw_body(self, content_type: &str, content: Content) -> Self {
        let body =
            RequestBodyBuilder::new().required(Some(Required::True)).content(content_type, content).build();
        self.with(|operation| operation.request_body(Some(body)))
    }

    /// An answer of this shape.
    pub(super) fn json<T: ToSchema>(mut self, status: StatusCode, description: &str, example: Value) -> Self {
        let content = ContentBuilder::new().schema(Some(self.schema::<T>())).example(Some(example)).build();
        let response = ResponseBuilder::new().description(description).content(JSON, content);
        self.answer(status, response.header("Cache-Control", no_store()))
    }

    /// An answer without a body.
    pub(super) fn empty(self, status: StatusCode, description: &str) -> Self {
        self.answer(status, ResponseBuilder::new().description(description))
    }

    /// Any other answer.
    pub(super) fn answer(self, status: StatusCode, response: ResponseBuilder) -> Self {
        self.with(|operation| operation.response(status.as_str(), response.build()))
    }

    /// Errors that it can end in.
    pub(super) fn problems(mut self, problems: &[ApiError]) -> Self {
        for problem in problems {
            if !self.problems.contains(problem) {
                self.problems.push(problem.clone());
            }
        }
        self
    }

    /// Asks the actors, and may find them busy.
    pub(super) fn asks(self) -> Self {
        self.problems(&[ApiError::Unavailable])
    }

    /// Writes to the store, and may find its disk full.
    pub(super) fn writes(self) -> Self {
        self.problems(&[ApiError::Unavailable, ApiError::StoreFull])
    }

    /// Can't panic into a 500 with a body: its errors have none.
    pub(super) fn no_problems(mut self) -> Self {
        self.problems.clear();
        self
    }

    /// The schema of a type: a reference to it, and itself and all below it among the document's.
    pub(super) fn schema<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let mut below = Vec::new();
        T::schemas(&mut below);
        self.schemas.extend(below);
        let name = T::name().into_owned();
        self.schemas.insert(name.clone(), T::schema());
        Ref::from_schema_name(name).into()
    }

    /// The operation, and the error answers that it refers to, by their names.
    pub(super) fn finished(self) -> (Operation, BTreeMap<String, Response>) {
        let mut by_status: BTreeMap<StatusCode, Vec<ApiError>> = BTreeMap::new();
        for problem in self.problems {
            by_status.entry(problem.parts().0).or_default().push(problem);
        }
        let mut operation = self.operation;
        let mut responses = BTreeMap::new();
        for (status, problems) in by_status {
            let codes: BTreeSet<&str> = problems.iter().map(|problem| problem.parts().1).collect();
            // The two kinds of `unavailable` are answers of their own.
            let name = [codes.iter().copied().collect::<Vec<_>>(), vec![]].concat().join(".");
            let name = if problems.contains(&ApiError::StoreFull) { format!("{name}.full") } else { name };
            operation = operation.response(status.as_str(), Ref::from_response_name(name.clone()));
            responses.insert(name, response(status, &codes, &problems));
        }
        (operation.build(), responses)
    }
}

/// The answer of one status with these errors.
fn response(status: StatusCode, codes: &BTreeSet<&str>, problems: &[ApiError]) -> Response {
    let narrowed = utoipa::openapi::ObjectBuilder::new()
        .property("status", whole_number().enum_values(Some([status.as_u16()])))
        .property("code", text().enum_values(Some(codes.iter().copied())));
    let schema = AllOfBuilder::new().item(Ref::from_schema_name("Problem")).item(narrowed).build();
    let examples = problems.iter().enumerate().map(|(number, problem)| {
        let (_, code, detail) = problem.parts();
        let name = if number > 0 { format!("{code}-{number}") } else { code.to_owned() };
        let example =
            ExampleBuilder::new().summary(detail).value(serde_json::to_value(problem.problem()).ok()).build();
        (name, example)
    });
    let content =
        ContentBuilder::new().schema(Some(Schema::from(schema))).examples_from_iter(examples).build();
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| match problem {
            ApiError::BadRequest(_) => "`bad-request`: the detail says what is wrong.".to_owned(),
            _ => format!("`{}`: {}", problem.parts().1, problem.parts().2),
        })
        .collect();
    let response = ResponseBuilder::new().description(lines.join("\n\n")).content(PROBLEM_JSON, content);
    let sent = problems.iter().flat_map(headers_of).collect::<BTreeMap<_, _>>();
    sent.into_iter()
        .fold(response.header("Cache-Control", no_store()), |response, (name, header)| {
            response.header(name, header)
        })
        .build()
}

/// The headers that only this error's answer has.
fn headers_of(problem: &ApiError) -> Vec<(&'static str, Header)> {
    let answer = problem.clone().into_response();
    let has = |name: &HeaderName| answer.headers().contains_key(name);
    let mut headers = Vec::new();
    if has(&header::WWW_AUTHENTICATE) {
        headers
            .push(("WWW-Authenticate", described("Always `Bearer`.", text().enum_values(Some(["Bearer"])))));
    }
    if has(&header::RETRY_AFTER) {
        let seconds = whole_number().minimum(Some(1_usize));
        headers.push(("Retry-After", described("When to try again, in seconds.", seconds)));
    }
    headers
}

fn no_store() -> Header {
    described("Nothing of this is for caches.", text().enum_values(Some(["no-store"])))
}

/// A header of an answer.
pub(super) fn described(description: &str, schema: impl Into<Schema>) -> Header {
    HeaderBuilder::new().description(Some(description)).schema(Some(schema.into())).build()
}
