//! From an attribute and a function to the function and its registration.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{ItemFn, Result, Token, parse::Parser, punctuated::Punctuated};

use crate::{function::Function, manifest::Entry, options::Item};

pub(crate) fn task(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = Punctuated::<Item, Token![,]>::parse_terminated.parse2(attribute)?;
    let options: Vec<Item> = options.into_iter().collect();
    let item: ItemFn = syn::parse2(item)?;
    let function = Function::read(&item)?;
    let Entry { name, json } = Entry::write(&function, &options)?;

    let called = &function.name;
    let shown = called.to_string();
    let count = function.parameters.len();
    let labels: Vec<String> =
        function.parameters.iter().map(crate::function::Parameter::label).collect();
    let optional = function.parameters.iter().map(|known| known.optional);
    let slots: Vec<_> = (0..count).map(|index| format_ident!("slot_{index}")).collect();
    let parse =
        function.parameters.iter().zip(&slots).zip(&labels).map(|((parameter, slot), label)| {
            let kind = &parameter.kind;
            let (reader, kind) = match (parameter.rounds, parameter.optional) {
                (true, true) => (quote!(required_exact), quote!(::core::option::Option<#kind>)),
                (true, false) => (quote!(required_exact), quote!(#kind)),
                (false, true) => (quote!(optional), quote!(#kind)),
                (false, false) => (quote!(required), quote!(#kind)),
            };
            quote!(::lovage::__private::#reader::<#kind>(&SIGNATURE, #label, #slot)?)
        });
    let context = function.takes_context.then(|| quote!(context,));
    let reply = if function.returns_result { quote!(reply_result) } else { quote!(reply) };

    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]
        #item

        const _: () = {
            const SIGNATURE: ::lovage::__private::Signature = ::lovage::__private::Signature {
                function: #shown,
                parameters: &[
                    #(::lovage::__private::Parameter { name: #labels, optional: #optional }),*
                ],
            };

            fn run(
                context: &::lovage::Ctx,
                args: &str,
                kwargs: &str,
            ) -> ::core::result::Result<::lovage::__private::String, ::lovage::TaskError> {
                let _ = context;
                let mut slots: [::core::option::Option<&str>; #count] = [::core::option::Option::None; #count];
                ::lovage::__private::bind(&SIGNATURE, &mut slots, args, kwargs)?;
                let [#(#slots),*] = slots;
                ::lovage::__private::#reply(#called(#context #(#parse),*))
            }

            ::lovage::__private::inventory::submit! {
                ::lovage::__private::Task { name: #name, manifest: #json, run }
            }
        };
    })
}
