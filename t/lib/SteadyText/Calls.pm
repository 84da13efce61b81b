# One call of each kind, and what it gives when nobody can answer it, by steadytext.on_failure: a fallback, or NULL ('NULL' here).
package SteadyText::Calls;

use strict;
use warnings;

our $FALLBACK = '[steadytext: no answer available]';

# [ name, expression, what it gives by default, what it gives with on_failure = null ]
our @ALL = (
    [ 'generate', q(steadytext_generate('anybody there?', use_cache => false)), $FALLBACK, 'NULL' ],
    [ 'embed', q(steadytext_embed('anybody there?', use_cache => false)::text), 'NULL', 'NULL' ],
    [ 'rerank', q((SELECT string_agg(document, ' ' ORDER BY score DESC) FILTER (WHERE score IS NOT NULL) FROM steadytext_rerank('red', ARRAY['blue', 'red']))),
        'red blue', 'NULL' ],
    [ 'batch', q((SELECT string_agg(response, ' ') FROM steadytext_generate_batch(ARRAY['anybody?', 'there?'], use_cache => false))),
        "$FALLBACK $FALLBACK", 'NULL' ],
    [ 'embed_batch', q((SELECT string_agg(embedding::text, ' ') FROM steadytext_embed_batch(ARRAY['anybody?', 'there?'], use_cache => false))), 'NULL', 'NULL' ],
    [ 'json', q(steadytext_generate_json('anybody?', '{"type": "integer"}', use_cache => false)), 'NULL', 'NULL' ],
    [ 'regex', q(steadytext_generate_regex('anybody?', 'a+', use_cache => false)), 'NULL', 'NULL' ],
    [ 'choice', q(steadytext_generate_choice('anybody?', ARRAY['yes', 'no'], use_cache => false)), 'NULL', 'NULL' ],
);

# The same asked asynchronously: [ name, type and params of steadytext_enqueue ].
our @QUEUED = (
    [ 'generate', q('generate', '{"prompt": "anybody there?", "use_cache": false}') ],
    [ 'embed', q('embed', '{"text_input": "anybody there?", "use_cache": false}') ],
    [ 'rerank', q('rerank', '{"query": "red", "documents": ["blue", "red"]}') ],
    [ 'batch_generate', q('batch_generate', '{"prompts": ["anybody?", "there?"], "use_cache": false}') ],
    [ 'batch_embed', q('batch_embed', '{"texts": ["anybody?", "there?"], "use_cache": false}') ],
    [ 'json', q('generate_json', '{"prompt": "anybody?", "schema": {"type": "integer"}, "use_cache": false}') ],
    [ 'regex', q('generate_regex', '{"prompt": "anybody?", "pattern": "a+", "use_cache": false}') ],
    [ 'choice', q('generate_choice', '{"prompt": "anybody?", "choices": ["yes", "no"], "use_cache": false}') ],
);

# What a call gives in this mode; 'NULL' for NULL.
sub ask {
    my ($cluster, $call, $mode, @settings) = @_;
    return $cluster->try_sql(join '', (map { "SET $_; " } "steadytext.on_failure = '$mode'", @settings), "SELECT coalesce($call, 'NULL')");
}

1;
