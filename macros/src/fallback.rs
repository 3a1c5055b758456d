//! What a function becomes that cannot be a task: itself, and a type that whoever uses the task can go on with, so
//! that nothing is said beyond what is wrong.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, format_ident, quote};
use syn::{FnArg, ReturnType};

use crate::ast::{Source, TaskFn, source};
use crate::attr::TaskOptions;
use crate::expand::{Private, type_item};
use crate::validate::{is_owned, returns_owned};

/// The stand-in for a task with a wrong signature.
pub(crate) fn task(function: &TaskFn, options: &TaskOptions) -> TokenStream {
    if matches!(function.sig.inputs.first(), Some(FnArg::Receiver(_))) {
        // a method: neither a type nor a function without its block can stand here
        return TokenStream::new();
    }
    let TaskFn {
        attrs,
        vis,
        sig,
        body,
        ..
    } = function;
    let name = &sig.ident;
    let private = Private::of(options.facade.as_ref());
    let private = private.path();
    let value = match body {
        Some(body) => quote!(#(#attrs)* #[allow(dead_code, unused_variables)] #vis #sig #body),
        None => TokenStream::new(),
    };
    let item = type_item(function);
    let arguments = function
        .typed()
        .filter(|(param, marks)| source(param, marks) != Source::Worker);
    let is_generic = !sig.generics.params.is_empty();
    let (mut generics, mut types) = (Vec::new(), Vec::new());
    for (param, _) in arguments {
        if is_generic || !is_owned(&param.ty) {
            let generic = format_ident!("__T{}", generics.len());
            types.push(quote!(#generic));
            generics.push(generic);
        } else {
            types.push(param.ty.to_token_stream());
        }
    }
    let output = output(function, private);
    let cfgs: Vec<_> = function.attrs_called("cfg").collect();
    quote! {
        #value
        #item
        #(#cfgs)*
        #[allow(dead_code, missing_docs, private_interfaces, unreachable_pub, clippy::too_many_arguments)]
        impl #name {
            #vis fn call<#(#generics),*>(#(_: #types),*) -> #private::Call<#name> {
                #private::Call::new(())
            }
        }
        #(#cfgs)*
        const _: () = {
            #[allow(unused_imports)]
            use #private::ShapeFallback as _;
            impl #private::Task for #name {
                const SPEC: #private::TaskSpec = #private::TaskSpec::new("", "");
                const QUEUE: #private::QueueSpec = #private::queue::<#private::DefaultQueue>();
                type Params = ();
                const PARAMS: () = ();
                type Output = #output;
                type Error = #private::core::convert::Infallible;
                const ANSWER: (#private::AnswerOk<Self::Output>, #private::AnswerErr<Self::Error>) =
                    #private::no_answer();
            }
            impl #private::Run for #name {
                type Injects = ();
                const INJECTS: () = ();
                async fn run(_: (), _: ()) -> #private::core::result::Result<Self::Output, Self::Error> {
                    #private::runs_elsewhere()
                }
            }
        };
    }
}

/// The output as written if it can be named outside of the function, or else none.
fn output(function: &TaskFn, private: &TokenStream) -> TokenStream {
    let nameable = function.sig.generics.params.is_empty() && returns_owned(function);
    match &function.sig.output {
        ReturnType::Type(_, ty) if nameable => {
            quote!(<#ty as #private::Returns<{ #private::Shape::<#ty>::FALLIBLE }>>::Output)
        }
        _ => quote!(()),
    }
}
