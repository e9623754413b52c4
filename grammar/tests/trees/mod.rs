//! Random syntax trees. Positional parameters are left out: their numbers follow from the text.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use sidql_grammar::ast::*;
use sidql_grammar::span::Spanned;

fn at<T>(node: T) -> Spanned<T> {
    Spanned::new(node, 0..0)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z]{1,8}",
        1 => prop::sample::select(vec!["it's", "", "--", "/*", "a\"b", "足球", "x;y", "\n"])
            .prop_map(str::to_owned),
        1 => "[^$?]{0,12}",
    ]
}

fn word() -> impl Strategy<Value = String> {
    const WORDS: [&str; 29] = [
        "items",
        "price",
        "prefix",
        "sid",
        "parent",
        "select",
        "order",
        "text",
        "codebook",
        "policy",
        "user",
        "image",
        "model",
        "models",
        "stale",
        "prompt",
        "labels",
        "failures",
        "compare",
        "a1",
        "b33",
        "a_1",
        "my name",
        "a\"b",
        "足球",
        "background",
        "distinct",
        "null",
        "_",
    ];
    prop_oneof![prop::sample::select(WORDS.to_vec()).prop_map(str::to_owned), "[a-z][a-z0-9_]{0,6}",]
}

fn name() -> impl Strategy<Value = Name> {
    word().prop_map(at)
}

fn sid() -> impl Strategy<Value = SidPattern> {
    let range = |(one, other): (u16, u16)| Level::Range(one.min(other), one.max(other));
    let level = prop_oneof![
        any::<u16>().prop_map(Level::Code),
        any::<(u16, u16)>().prop_map(range),
        Just(Level::Any)
    ];
    let levels = prop_oneof![9 => vec(level.clone(), 1..5), 1 => vec(level, 60..=64)];
    levels.prop_map(|levels| SidPattern { levels })
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>().prop_filter("finite", |value| value.is_finite()), -9.0..9.0]
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Bool),
        any::<i64>().prop_map(Literal::Int),
        float().prop_map(Literal::Float),
        text().prop_map(Literal::Text),
        sid().prop_map(Literal::Sid),
    ]
}

fn param() -> impl Strategy<Value = Param> {
    Just(Param::Named("p".to_owned()))
}

fn count() -> impl Strategy<Value = Spanned<Operand>> {
    prop_oneof![
        (0..=i64::MAX).prop_map(|value| Operand::Literal(Literal::Int(value))),
        param().prop_map(Operand::Param),
    ]
    .prop_map(at)
}

fn given() -> impl Strategy<Value = Operand> {
    prop_oneof![
        text().prop_map(|text| Operand::Literal(Literal::Text(text))),
        param().prop_map(Operand::Param),
    ]
}

fn file() -> impl Strategy<Value = Spanned<Operand>> {
    given().prop_map(at)
}

fn value() -> impl Strategy<Value = Spanned<OptionValue>> {
    let leaf = prop_oneof![
        literal().prop_map(OptionValue::Literal),
        param().prop_map(OptionValue::Param),
    ];
    leaf.prop_map(at).prop_recursive(3, 12, 4, |inner| {
        vec(inner, 0..4).prop_map(|items| at(OptionValue::List(items)))
    })
}

fn with() -> impl Strategy<Value = Vec<WithOption>> {
    vec((name(), value()).prop_map(|(name, value)| WithOption { name, value }), 0..3)
}

const OPERATORS: [Binary; 11] = [
    Binary::Or,
    Binary::And,
    Binary::Eq,
    Binary::Ne,
    Binary::Lt,
    Binary::Le,
    Binary::Gt,
    Binary::Ge,
    Binary::Like,
    Binary::NotLike,
    Binary::Contains,
];

fn expr() -> impl Strategy<Value = Spanned<Expr>> {
    let leaf = prop_oneof![
        literal().prop_map(Expr::Literal),
        param().prop_map(Expr::Param),
        word().prop_map(Expr::Column),
        Just(Expr::Column("prefix".to_owned())),
        Just(Expr::Call { name: at("count".to_owned()), args: vec![at(Expr::Star)] }),
    ];
    leaf.prop_map(at).prop_recursive(5, 40, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new).boxed();
        let operator = prop::sample::select(OPERATORS.to_vec()).prop_map(at);
        prop_oneof![
            (name(), vec(inner.clone(), 0..3)).prop_map(|(name, args)| Expr::Call { name, args }),
            boxed.clone().prop_map(Expr::Not),
            boxed.clone().prop_map(Expr::Negate),
            (boxed.clone(), operator, boxed.clone()).prop_map(|(left, op, right)| Expr::Binary {
                left,
                op,
                right
            }),
            (boxed.clone(), vec(inner, 1..4), any::<bool>())
                .prop_map(|(expr, list, negated)| Expr::In { expr, list, negated }),
            (boxed, any::<bool>()).prop_map(|(expr, negated)| Expr::IsNull { expr, negated }),
        ]
        .prop_map(at)
    })
}

fn near() -> impl Strategy<Value = Near> {
    let target = prop_oneof![
        given().prop_map(NearTarget::Operand),
        sid().prop_map(|sid| NearTarget::Operand(Operand::Literal(Literal::Sid(sid)))),
        given().prop_map(NearTarget::Text),
        given().prop_map(NearTarget::Image),
        vec(float(), 1..4).prop_map(NearTarget::Vector),
    ];
    (target.prop_map(at), of(name())).prop_map(|(target, space)| Near { target, space })
}

fn select() -> impl Strategy<Value = Select> {
    let projected = prop_oneof![4 => expr(), 1 => Just(at(Expr::Star))];
    let column = (projected, of(name())).prop_map(|(expr, alias)| SelectColumn { expr, alias });
    let key = (expr(), any::<bool>()).prop_map(|(expr, descending)| OrderKey { expr, descending });
    let codebook = (file(), of(any::<u64>().prop_map(at)))
        .prop_map(|(codebook, generation)| RelationOf { codebook, generation });
    (
        vec(column, 0..4),
        (name(), of(codebook)),
        of(near()),
        of(expr()),
        vec(expr(), 0..3),
        vec(key, 0..3),
        (of(count()), of(count())),
        with(),
    )
        .prop_map(
            |(columns, from, near, filter, group_by, order_by, (limit, offset), with)| {
                let (from, of) = from;
                Select { columns, from, of, near, filter, group_by, order_by, limit, offset, with }
            },
        )
}

fn generation_of() -> impl Strategy<Value = GenerationOf> {
    (name(), of(any::<u64>().prop_map(at)))
        .prop_map(|(codebook, generation)| GenerationOf { codebook, generation })
}

fn write() -> BoxedStrategy<Statement> {
    let row = || vec((name(), value()), 1..4);
    prop_oneof![
        (name(), vec(row(), 1..3), with())
            .prop_map(|(into, rows, with)| Statement::Insert(Insert { into, rows, with })),
        (name(), row(), of(expr())).prop_map(|(relation, set, filter)| {
            Statement::Update(Update { relation, set, filter })
        }),
        (name(), of(expr())).prop_map(|(from, filter)| Statement::Delete(Delete { from, filter })),
        (name(), file(), with(), any::<bool>()).prop_map(|(into, file, with, background)| {
            Statement::CopyFrom(CopyFrom { into, file, with, background })
        }),
        (select(), file(), with(), any::<bool>()).prop_map(|(select, file, with, background)| {
            Statement::CopyTo(CopyTo { select, file, with, background })
        }),
        (name(), name(), of(name()), of(expr()), with(), any::<bool>()).prop_map(
            |(relation, stage, using, filter, with, background)| {
                Statement::Enrich(Enrich { relation, stage, using, filter, with, background })
            }
        ),
    ]
    .boxed()
}

fn define() -> BoxedStrategy<Statement> {
    prop_oneof![
        (name(), name(), name(), with()).prop_map(|(name, using, on, with)| {
            Statement::CreateCodebook(CreateCodebook { name, using, on, with })
        }),
        (name(), name(), of(name()), with()).prop_map(|(name, using, codebook, with)| {
            Statement::CreatePolicy(CreatePolicy { name, using, codebook, with })
        }),
        (name(), with(), any::<bool>()).prop_map(|(name, with, background)| {
            Statement::RebuildCodebook(RebuildCodebook { name, with, background })
        }),
        generation_of().prop_map(Statement::PublishCodebook),
        generation_of().prop_map(Statement::DropCodebook),
        (name(), of(any::<u64>().prop_map(at)))
            .prop_map(|(codebook, keep)| Statement::DropUnused(DropUnused { codebook, keep })),
        name().prop_map(Statement::DropPolicy),
        (name(), name(), with()).prop_map(|(name, using, with)| {
            Statement::CreateModel(CreateModel { name, using, with })
        }),
        name().prop_map(Statement::DropModel),
        (name(), name(), name(), with()).prop_map(|(name, on, using, with)| {
            Statement::CreateIndex(CreateIndex { name, on, using, with })
        }),
        (name(), any::<bool>()).prop_map(|(name, background)| {
            Statement::RebuildIndex(RebuildIndex { name, background })
        }),
        name().prop_map(Statement::DropIndex),
        (name(), of(name()), vec(name(), 0..3), with(), any::<bool>()).prop_map(
            |(name, objective, rewards, with, background)| {
                Statement::TrainPolicy(TrainPolicy { name, objective, rewards, with, background })
            }
        ),
    ]
    .boxed()
}

fn ask() -> BoxedStrategy<Statement> {
    let context = prop_oneof![
        given().prop_map(Context::User),
        Just(Context::Users),
        vec(file(), 1..4).prop_map(Context::After),
    ];
    let numbers = vec(any::<u64>().prop_map(at), 0..3);
    prop_oneof![
        select().prop_map(Statement::Select),
        (of(count()), context.prop_map(at), of(name()), of(expr()), of(file()), with()).prop_map(
            |(count, context, using, filter, into, with)| {
                Statement::Recommend(Recommend { count, context, using, filter, into, with })
            }
        ),
        (vec(name(), 1..3), of(name()), numbers, with(), any::<bool>()).prop_map(
            |(policies, split, at, with, background)| {
                Statement::Evaluate(Evaluate { policies, split, at, with, background })
            }
        ),
        (file(), with())
            .prop_map(|(file, with)| { Statement::CompareLabels(CompareLabels { file, with }) }),
        (generation_of(), generation_of(), of(expr()), with()).prop_map(
            |(left, right, filter, with)| {
                Statement::CompareCodebooks(CompareCodebooks { left, right, filter, with })
            }
        ),
    ]
    .boxed()
}

fn manage() -> BoxedStrategy<Statement> {
    let shown = [
        Show::Relations,
        Show::Codebooks,
        Show::Generations,
        Show::Policies,
        Show::Models,
        Show::Prompts,
        Show::Spaces,
        Show::Indexes,
        Show::Stale,
        Show::Jobs,
        Show::Evaluations,
        Show::Kinds,
        Show::Settings,
        Show::Space,
    ];
    let plain = [
        Statement::Verify,
        Statement::Compact,
        Statement::Begin,
        Statement::Commit,
        Statement::Rollback,
    ];
    let number = || any::<u64>().prop_map(at);
    prop_oneof![
        prop::sample::select(shown.to_vec()).prop_map(|shown| Statement::Show(at(shown))),
        name().prop_map(|name| Statement::Describe(Describe::Relation(name))),
        generation_of().prop_map(|of| Statement::Describe(Describe::Codebook(of))),
        name().prop_map(|name| Statement::Describe(Describe::Policy(name))),
        name().prop_map(|name| Statement::Describe(Describe::Model(name))),
        name().prop_map(|name| Statement::Describe(Describe::Index(name))),
        name().prop_map(|name| Statement::Describe(Describe::Prompt(name))),
        name().prop_map(|name| Statement::Describe(Describe::Kind(name))),
        (sid(), of(generation_of()))
            .prop_map(|(sid, of)| { Statement::Describe(Describe::Prefix { sid: at(sid), of }) }),
        number().prop_map(Statement::ShowFailures),
        number().prop_map(Statement::WaitJob),
        number().prop_map(Statement::CancelJob),
        (number(), any::<bool>())
            .prop_map(|(job, background)| Statement::ResumeJob(ResumeJob { job, background })),
        prop::sample::select(plain.to_vec()),
        file().prop_map(Statement::Backup),
        (name(), value()).prop_map(|(name, value)| Statement::Set(WithOption { name, value })),
    ]
    .boxed()
}

/// Any statement.
pub(crate) fn statement() -> impl Strategy<Value = Statement> {
    let statement = prop_oneof![write(), define(), ask(), manage()];
    (statement, 0..8).prop_map(|(statement, explained)| match explained {
        0 | 1 => {
            let statement = Box::new(statement);
            Statement::Explain(Explain { analyze: explained == 1, statement })
        }
        _ => statement,
    })
}
