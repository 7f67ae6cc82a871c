//! What the macro reads from the function itself.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Error, Expr, ExprLit, FnArg, Ident, ItemFn, Lit, Meta, Pat, PatIdent, Result, ReturnType, Type,
    spanned::Spanned,
};

/// A task's function.
pub(crate) struct Function {
    pub(crate) name: Ident,
    pub(crate) takes_context: bool,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) returns_result: bool,
    /// The first paragraph of its documentation.
    pub(crate) doc: Option<String>,
}

/// A parameter other than the context.
pub(crate) struct Parameter {
    pub(crate) name: Ident,
    pub(crate) kind: Type,
    /// It is an `Option`, and a caller may leave it out.
    pub(crate) optional: bool,
    /// It mentions `serde_json`'s `Value` or `Number`, which round large integers.
    pub(crate) rounds: bool,
}

impl Function {
    pub(crate) fn read(item: &ItemFn) -> Result<Self> {
        let signature = &item.sig;
        if let Some(word) = &signature.asyncness {
            return Err(Error::new(word.span(), "a task is not async: waiting yields to the host"));
        }
        if !signature.generics.params.is_empty() {
            return Err(Error::new(signature.generics.span(), "a task has no generic parameters"));
        }
        let mut inputs = signature.inputs.iter().peekable();
        let takes_context = inputs.next_if(|input| is_context(input)).is_some();
        Ok(Self {
            name: signature.ident.clone(),
            takes_context,
            parameters: inputs.map(Parameter::read).collect::<Result<_>>()?,
            returns_result: returns_result(&signature.output),
            doc: first_paragraph(item),
        })
    }
}

impl Parameter {
    fn read(input: &FnArg) -> Result<Self> {
        let FnArg::Typed(input) = input else {
            return Err(Error::new(input.span(), "a task is a free function"));
        };
        let Pat::Ident(PatIdent { ident, by_ref: None, subpat: None, .. }) = &*input.pat else {
            return Err(Error::new(input.pat.span(), "a task's parameters have plain names"));
        };
        if let Type::Reference(reference) = &*input.ty {
            let message = "a task owns its arguments: take `String` for `&str`, `Vec<T>` for `&[T]`; \
                           only `&Ctx`, first of all, is borrowed";
            return Err(Error::new(reference.span(), message));
        }
        let inner = option_of(&input.ty);
        Ok(Self {
            name: ident.clone(),
            optional: inner.is_some(),
            kind: inner.unwrap_or(&input.ty).clone(),
            rounds: mentions(input.ty.to_token_stream(), &["Number", "Value"]),
        })
    }

    /// The name as callers write it.
    pub(crate) fn label(&self) -> String {
        let name = self.name.to_string();
        name.strip_prefix("r#").unwrap_or(&name).trim_start_matches('_').to_owned()
    }
}

fn is_context(input: &FnArg) -> bool {
    let FnArg::Typed(input) = input else { return false };
    let Type::Reference(reference) = &*input.ty else { return false };
    last_segment(&reference.elem).is_some_and(|name| name == "Ctx")
}

fn returns_result(output: &ReturnType) -> bool {
    let ReturnType::Type(_, kind) = output else { return false };
    last_segment(kind).is_some_and(|name| name.to_string().ends_with("Result"))
}

fn last_segment(kind: &Type) -> Option<&Ident> {
    let Type::Path(path) = kind else { return None };
    path.path.segments.last().map(|segment| &segment.ident)
}

fn option_of(kind: &Type) -> Option<&Type> {
    let Type::Path(path) = kind else { return None };
    let segment = path.path.segments.last().filter(|segment| segment.ident == "Option")?;
    let syn::PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    match arguments.args.first() {
        Some(syn::GenericArgument::Type(inner)) => Some(inner),
        _ => None,
    }
}

fn mentions(tokens: TokenStream, names: &[&str]) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => names.iter().any(|name| ident == name),
        TokenTree::Group(group) => mentions(group.stream(), names),
        _ => false,
    })
}

fn first_paragraph(item: &ItemFn) -> Option<String> {
    let lines = item.attrs.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) => Some(line.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    let paragraph: Vec<String> =
        lines.skip_while(String::is_empty).take_while(|line| !line.is_empty()).collect();
    (!paragraph.is_empty()).then(|| paragraph.join(" "))
}
