//! What `#[task]` makes of a function; quoting only.
//!
//! Every bound is checked in one place, by a constant function called at the span of the type it is about.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{GenericArgument, Index, PathArguments, ReturnType, Type};

use crate::ast::{Source, TaskFn, argument_name, respan, source, type_text};
use crate::attr::{TaskOptions, default_facade};
use crate::spec;

/// The path of the support module, as `#private` in the quotes.
pub(crate) struct Private(TokenStream);

impl Private {
    pub(crate) fn of(facade: Option<&syn::Path>) -> Self {
        let facade = facade.cloned().unwrap_or_else(default_facade);
        Self(quote!(#facade::__private))
    }

    /// The path, reported at `span`.
    pub(crate) fn at(&self, span: Span) -> TokenStream {
        respan(self.0.clone(), span)
    }

    pub(crate) fn path(&self) -> &TokenStream {
        &self.0
    }
}

/// A parameter, sorted by where its value comes from.
struct Slot<'a> {
    ty: &'a Type,
    /// The argument's name; `None` for an injected parameter.
    name: Option<&'a Ident>,
    /// True if the type could as well be injected, and nothing says that it is not.
    guessed: bool,
}

struct Expansion<'a> {
    function: &'a TaskFn,
    options: &'a TaskOptions,
    private: Private,
    slots: Vec<Slot<'a>>,
}

/// The whole expansion of a valid task.
pub(crate) fn task(function: &TaskFn, options: &TaskOptions) -> TokenStream {
    let slots = function.typed().map(|(param, marks)| {
        let source = source(param, marks);
        Slot {
            ty: &param.ty,
            name: argument_name(param).filter(|_| source != Source::Worker),
            guessed: source == Source::Message { marked: false },
        }
    });
    let expansion = Expansion {
        function,
        options,
        private: Private::of(options.facade.as_ref()),
        slots: slots.collect(),
    };
    let value = match function.body {
        Some(_) => expansion.function(),
        None => expansion.placeholder(),
    };
    let call = expansion.call();
    let contract = expansion.contract();
    let item = type_item(function);
    quote!(#value #item #call #contract)
}

/// The uninhabited type that carries the contract.
pub(crate) fn type_item(function: &TaskFn) -> TokenStream {
    let cfgs = function.attrs_called("cfg");
    let (vis, name) = (&function.vis, &function.sig.ident);
    let plain = function.plain_name();
    let doc = if name == &plain {
        format!("The task [`{plain}`](fn@{plain}).")
    } else {
        format!("The task `{plain}`.")
    };
    let hidden = function.is_hidden().then(|| quote!(#[doc(hidden)]));
    // shown at the function's name, but still the macro's in the eyes of lints
    let span = Span::call_site().located_at(name.span());
    quote_spanned! {span=>
        #(#cfgs)*
        #[doc = #doc]
        #hidden
        #[allow(non_camel_case_types, missing_debug_implementations, dead_code, unreachable_pub)]
        #vis enum #name {}
    }
}

impl<'a> Expansion<'a> {
    fn arguments(&self) -> impl Iterator<Item = (&'a Ident, &'a Type)> {
        self.slots
            .iter()
            .filter_map(|slot| Some((slot.name?, slot.ty)))
    }

    fn injected(&self) -> impl Iterator<Item = &'a Type> {
        let injected = self.slots.iter().filter(|slot| slot.name.is_none());
        injected.map(|slot| slot.ty)
    }

    /// The function as written.
    fn function(&self) -> TokenStream {
        let TaskFn {
            attrs,
            vis,
            sig,
            body,
            ..
        } = self.function;
        quote! {
            #(#attrs)*
            #[allow(clippy::unused_async, clippy::needless_pass_by_value)]
            #vis #sig #body
        }
    }

    /// What stands for the function of a task without a body: callable only where the task can run.
    fn placeholder(&self) -> TokenStream {
        let TaskFn {
            attrs, vis, sig, ..
        } = self.function;
        let (name, inputs) = (&sig.ident, &sig.inputs);
        let private = self.private.at(name.span());
        let output = self.return_type();
        quote_spanned! {name.span()=>
            #(#attrs)*
            #[allow(unused_variables, dead_code, clippy::needless_pass_by_value)]
            #vis fn #name(#inputs) -> #private::core::future::Ready<#output>
            where
                for<'never> #name: #private::Run,
            {
                #private::runs_elsewhere()
            }
        }
    }

    fn return_type(&self) -> TokenStream {
        match &self.function.sig.output {
            ReturnType::Default => {
                let span = self.function.sig.ident.span();
                quote_spanned!(span=> ())
            }
            ReturnType::Type(_, ty) => ty.to_token_stream(),
        }
    }

    fn call(&self) -> TokenStream {
        let private = self.private.path();
        let cfgs = self.function.attrs_called("cfg");
        let deprecated = self.function.attrs_called("deprecated");
        let (vis, task) = (&self.function.vis, &self.function.sig.ident);
        let (names, types): (Vec<_>, Vec<_>) = self.arguments().unzip();
        let doc = format!(
            "A call of the task `{}`: nothing happens until it is sent.",
            self.function.plain_name()
        );
        let span = Span::call_site().located_at(task.span());
        quote_spanned! {span=>
            #(#cfgs)*
            impl #task {
                #[doc = #doc]
                #(#deprecated)*
                #[allow(dead_code, private_interfaces, unreachable_pub, clippy::too_many_arguments)]
                #vis fn call(#(#names: #types),*) -> #private::Call<#task> {
                    #private::Call::new((#(#names,)*))
                }
            }
        }
    }

    fn contract(&self) -> TokenStream {
        let private = self.private.path();
        let cfgs = self.function.attrs_called("cfg");
        let task = self.impl_task();
        let run = self.function.body.is_some().then(|| {
            let name = &self.function.sig.ident;
            let run = self.impl_run();
            quote!(#run #private::register!(#name);)
        });
        let checks = self.slots.iter().filter(|slot| slot.guessed).map(|slot| {
            let (ty, private) = (slot.ty, self.private.at(slot.ty.span()));
            quote_spanned!(ty.span()=> #private::travels::<#ty, { #private::Probe::<#ty>::AMBIGUOUS }>();)
        });
        quote! {
            #(#cfgs)*
            const _: () = {
                #[allow(unused_imports)]
                use #private::{ProbeFallback as _, ShapeFallback as _};
                #task
                #run
                #(#checks)*
            };
        }
    }

    fn impl_task(&self) -> TokenStream {
        let private = self.private.path();
        let task = &self.function.sig.ident;
        let spec = spec::of(self.options, &self.function.plain_name(), private);
        let queue = self.queue();
        let types = self.arguments().map(|(_, ty)| ty);
        let params = self.arguments().map(|(name, ty)| {
            let private = self.private.at(ty.span());
            let name = name.unraw().to_string();
            let text = type_text(ty.to_token_stream());
            quote_spanned!(ty.span()=> #private::param::<#ty>(#name, #text))
        });
        let returned = self.return_type();
        let returns = self.returns(returned.span());
        let (ok, err) = self.answer();
        // at the task's name, where a public task with a private argument type is refused
        let types = quote_spanned!(task.span()=> type Params = (#(#private::Param<#types>,)*););
        let outputs = quote_spanned! {returned.span()=>
            type Output = #returns::Output;
            type Error = #returns::Error;
        };
        quote! {
            impl #private::Task for #task {
                const SPEC: #private::TaskSpec = #spec;
                const QUEUE: #private::QueueSpec = #queue;
                #types
                const PARAMS: Self::Params = (#(#params,)*);
                #outputs
                const ANSWER: (#private::AnswerOk<Self::Output>, #private::AnswerErr<Self::Error>) = (#ok, #err);
            }
        }
    }

    /// `<R as Returns<..>>`
    fn returns(&self, span: Span) -> TokenStream {
        let private = self.private.at(span);
        let ty = self.return_type();
        quote_spanned!(span=> <#ty as #private::Returns<{ #private::Shape::<#ty>::FALLIBLE }>>)
    }

    /// The checks of output and error, each under its own word where the return type is written as a `Result`.
    fn answer(&self) -> (TokenStream, TokenStream) {
        let returned = self.return_type();
        let (mut ok, mut err) = (returned.clone(), returned);
        if let ReturnType::Type(_, ty) = &self.function.sig.output {
            let mut arguments = result_arguments(ty).map(ToTokens::to_token_stream);
            ok = arguments.next().unwrap_or(ok);
            err = arguments.next().unwrap_or(err);
        }
        (
            self.checked(ok, "answer_ok", "Output"),
            self.checked(err, "answer_err", "Error"),
        )
    }

    /// `function::<Self::name>()`, where `Self::name` stretches over the tokens of `word`.
    fn checked(&self, word: TokenStream, function: &str, name: &str) -> TokenStream {
        let spans: Vec<_> = word.into_iter().map(|token| token.span()).collect();
        let task = self.function.sig.ident.span();
        let first = spans.first().copied().unwrap_or(task);
        let last = spans.last().copied().unwrap_or(task);
        let private = self.private.at(first);
        let function = Ident::new(function, first);
        let (this, name) = (Ident::new("Self", first), Ident::new(name, last));
        quote_spanned!(first=> #private::#function::<#this::#name>())
    }

    fn impl_run(&self) -> TokenStream {
        let private = self.private.path();
        let task = &self.function.sig.ident;
        let injects = self.injected();
        let injections = self.injected().map(|ty| {
            let private = self.private.at(ty.span());
            quote_spanned!(ty.span()=> #private::inject::<#ty>())
        });
        let run = self.run();
        quote! {
            impl #private::Run for #task {
                type Injects = (#(#private::Inject<#injects>,)*);
                const INJECTS: Self::Injects = (#(#injections,)*);
                #run
            }
        }
    }

    /// The whole function is at the span of the task's name: or a future that is not `Send` is blamed on `#[task]`.
    fn run(&self) -> TokenStream {
        let task = &self.function.sig.ident;
        let span = task.span();
        let private = self.private.at(span);
        // names that nothing of the user's can have, as hygiene ends where a span of the user's code begins
        let arguments = format_ident!("__args", span = span);
        let injected = format_ident!("__injected", span = span);
        let (mut arguments_before, mut injected_before) = (0_usize, 0_usize);
        let values = self.slots.iter().map(|slot| {
            let (tuple, index) = match slot.name {
                Some(_) => (&arguments, &mut arguments_before),
                None => (&injected, &mut injected_before),
            };
            let at = Index {
                index: u32::try_from(*index).unwrap_or(u32::MAX),
                span,
            };
            *index += 1;
            quote_spanned!(span=> #tuple.#at)
        });
        let mut call = quote_spanned!(span=> #task(#(#values),*));
        if self.function.sig.asyncness.is_some() {
            call = quote_spanned!(span=> #call.await);
        }
        let argument_types = self.arguments().map(|(_, ty)| ty);
        let injected_types = self.injected();
        let returns = self.returns(span);
        quote_spanned! {span=>
            #[allow(deprecated, private_interfaces, unused_variables, clippy::manual_async_fn)]
            fn run(
                #arguments: (#(#argument_types,)*),
                #injected: (#(#injected_types,)*),
            ) -> impl #private::core::future::Future<Output = #private::core::result::Result<Self::Output, Self::Error>>
               + #private::core::marker::Send {
                async move { #returns::into_result(#call) }
            }
        }
    }

    fn queue(&self) -> TokenStream {
        match &self.options.queue {
            Some(ty) => {
                let private = self.private.at(ty.span());
                quote_spanned!(ty.span()=> #private::queue::<#ty>())
            }
            None => {
                let private = self.private.path();
                quote!(#private::queue::<#private::DefaultQueue>())
            }
        }
    }
}

/// `A` and `B` of a type that is written `Result<A, B>`.
fn result_arguments(ty: &Type) -> impl Iterator<Item = &Type> {
    let segment = match ty {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    };
    let arguments = segment
        .filter(|segment| segment.ident == "Result")
        .and_then(|segment| match &segment.arguments {
            PathArguments::AngleBracketed(arguments) => Some(&arguments.args),
            _ => None,
        });
    arguments
        .into_iter()
        .flatten()
        .filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        })
}
