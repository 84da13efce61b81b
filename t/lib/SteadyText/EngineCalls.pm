# Twenty calls that every engine over HTTP answers rightly, or refuses with an error that says so; never in silence.
#
#   check_engine($cluster, model => 'smollm2', embedder => 'minilm', dimensions => 384, key_file => ..., key => ...,
#       at_work => sub { ... },                         # how many answers the engine writes at this moment
#       goes_on => 1,                                   # it does not stop the work of a client that has gone
#       instead => { regex => [ '08P01', qr/.../ ] });  # what it cannot do, and the SQLSTATE and words that say so
#
# The cluster's entries have the key from `key_file`, and on_failure is 'error'. Each call is a subtest of the name it has here.
package SteadyText::EngineCalls;

use strict;
use warnings;
use utf8;
use Exporter 'import';
use Test::More;
use Time::HiRes qw(time);

our @EXPORT = qw(check_engine write_key);

# A file that only the server can read, made anew.
sub write_key {
    my ($file, $key) = @_;
    open my $handle, '>', "$file.new" or die "$file: $!";
    print {$handle} "$key\n";
    close $handle;
    chown +(getpwnam 'postgres')[2, 3], "$file.new" if $> == 0;
    chmod 0600, "$file.new";
    return rename "$file.new", $file;
}

my ($cluster, %engine);

# How many answers the engine writes. Asked rarely: llama-server looks whether a client is gone only when nothing has woken it for a second.
sub comes_to { my ($count) = @_; return $cluster->wait_for(sub { sleep 2; return $engine{at_work}->() == $count }, 300) }
sub sql     { my ($sql) = @_; utf8::encode($sql); my $out = $cluster->sql($sql); utf8::decode($out); return $out }
sub try_sql { my ($sql) = @_; utf8::encode($sql); my $result = $cluster->try_sql($sql); utf8::decode($result->{$_}) for qw(out err); return $result }
sub call    { my ($arguments) = @_; return "SELECT steadytext_generate($arguments, use_cache => false)" }
sub ex      { my ($columns, $prompt, $options) = @_; return "SELECT $columns FROM steadytext_generate_ex('$prompt', '$options')" }

# The answer is right, or the engine is one that cannot and the error says so.
sub right_or_refused {
    my ($what, $sql, $right) = @_;
    my $result = try_sql($sql);
    if (my $instead = $engine{instead}{$what}) {
        is($result->{state}, $instead->[0], "$what: an error, for it cannot") or diag "$result->{out}\n$result->{err}";
        return like($result->{err}, $instead->[1], "$what: which says so");
    }
    return ok($result->{state} eq '' && $right->($result->{out}), "$what: the right answer") || diag "$result->{out}\n$result->{err}";
}
sub refused {
    my ($what, $sql, $state, $words) = @_;
    my $result = try_sql($sql);
    is($result->{state}, $state, $what) or diag "$result->{out}\n$result->{err}";
    return like($result->{err}, $words, "$what: in words");
}

my @CALLS = (
    [ 'a text' => sub {
        like(sql(call(q('Name three colours.', max_tokens => 24))), qr/\w{3}/, 'is answered');
        is(sql(ex(q(model || ' ' || degraded), 'Name three animals.', '{"max_tokens": 8, "use_cache": false}')), "$engine{model} false", 'by the model that is asked');
    } ],
    [ 'a seed' => sub {
        my $ask = call(q('Write a line of a poem.', max_tokens => 24, seed => 7));
        my $text = sql($ask);
        is(sql($ask), $text, 'gives the same again');
        like(sql($ask =~ s/seed => 7/seed => 8/r), qr/\w/, 'and another one is taken');
    } ],
    [ 'a text that stops' => sub {
        my $ask = call(q('Name three colours.', max_tokens => 24));
        my $whole = sql($ask);
        my ($stop) = $whole =~ /^.{6,}?\b(\w{4,})\b/s or return fail("no word in: $whole");
        my $cut = sql($ask =~ s/max_tokens/eos_string => '$stop', max_tokens/r);
        my $expected = substr $whole, 0, index $whole, $stop;
        is($cut =~ s/\s+$//r, $expected =~ s/\s+$//r, "before '$stop'");
    } ],
    [ 'a stream' => sub {
        my $arguments = q('Name three colours.', max_tokens => 24, use_cache => false);
        is(sql("SELECT string_agg(s, '') = steadytext_generate($arguments) AND count(*) > 3 FROM steadytext_generate_stream($arguments) s"), 't', 'is the whole answer in many rows');
    } ],
    [ 'JSON of a schema' => sub {
        my $json = sql(q(SELECT steadytext_generate_json('Make up a person.', '{"type": "object", "additionalProperties": false, "properties": {"name": {"type": "string", "maxLength": 12},
            "age": {"type": "integer", "minimum": 1, "maximum": 99}}, "required": ["name", "age"]}', max_tokens => 64, use_cache => false)));
        is(sql("SELECT length(j ->> 'name') <= 12 AND (j ->> 'age')::int BETWEEN 1 AND 99 AND (SELECT count(*) = 2 FROM jsonb_object_keys(j)) FROM (SELECT \$x\$$json\$x\$::jsonb AS j) x"), 't', 'satisfies it')
            or diag $json;
    } ],
    [ 'a regex, a choice' => sub {
        right_or_refused('regex', q(SELECT steadytext_generate_regex('A date:', '[0-9]{4}-[0-9]{2}-[0-9]{2}', max_tokens => 16, use_cache => false)), sub { $_[0] =~ /^\d{4}-\d\d-\d\d$/ });
        right_or_refused('choice', q(SELECT steadytext_generate_choice('Is the sky blue?', ARRAY['yes', 'no'], use_cache => false)), sub { $_[0] =~ /^(?:yes|no)$/ });
    } ],
    [ 'an embedding' => sub {
        is(sql(q(SELECT vector_dims(v), round((v <#> v)::numeric, 4) FROM steadytext_embed('a train to the coast', use_cache => false) v)), "$engine{dimensions}|-1.0000", 'is of length 1');
        is(sql(q(SELECT t FROM unnest(ARRAY['The stock market fell.', 'We took the railway to the sea.', 'Bread needs yeast.']) t
            ORDER BY steadytext_embed(t) <=> steadytext_embed('a train to the coast') LIMIT 1)), 'We took the railway to the sea.', 'near to what is near in meaning');
    } ],
    [ 'many embeddings' => sub {
        my $texts = q(ARRAY['The stock market fell.', 'Bread needs yeast.', 'We took the railway to the sea.', 'José liest 日本語.', 'x']);
        is(sql("SELECT count(*) FILTER (WHERE embedding <=> steadytext_embed(text_input, use_cache => false) < 0.001), count(*) FROM steadytext_embed_batch($texts, false)"), '5|5', 'are those of each text, in its place');
    } ],
    [ 'a ranking' => sub {
        refused('is for other daemons', q(SELECT count(*) FROM steadytext_rerank('trains', ARRAY['railways', 'bread'])), @{ $engine{ranking} // [ '42704', qr/no daemon serves/ ] });
    } ],
    [ 'a prompt that is too long' => sub {
        refused('is the call\'s failure', call(q(repeat('much too long ', 8000))), '38000', qr/context|too long|exceed/i);
        is(sql('SELECT count(*) FROM steadytext_daemons WHERE breaker <> $$closed$$'), 0, 'and not the engine\'s');
    } ],
    [ 'a model that nobody serves' => sub {
        my $result = try_sql(call(q('Name a colour.', max_tokens => 8, model => 'no-such-model')));
        like($result->{err}, qr/WARNING:  22023: .*"no-such-model"\nDETAIL:  Model "\Q$engine{model}\E" answers instead/, 'is said to be another\'s answer') or diag $result->{out};
        refused('or an error', q(SET steadytext.unknown_model = 'error'; ) . call(q('Name a colour.', model => 'no-such-model')), '42704', qr/no-such-model/);
    } ],
    [ 'a key that is wrong' => sub {
        # The key is read when an entry's connection is made.
        my $entries = sql('SHOW steadytext.daemons');
        my $configure = sub { sql(sprintf q(ALTER SYSTEM SET steadytext.daemons = '%s'; SELECT pg_reload_conf()), $_[0]) };
        write_key("$engine{key_file}.wrong", 'sk-of-nobody-at-all');
        $configure->($entries =~ s/\Q$engine{key_file}\E/$engine{key_file}.wrong/gr);
        my ($states, $words) = @{ $engine{bad_key} };
        my $result;
        ok($cluster->wait_for(sub { ($result = try_sql(call(q('Name a colour.', max_tokens => 2))))->{state} =~ $states }, 60), 'is an error') or diag "$result->{state} $result->{err}";
        ok($cluster->wait_for(sub { ($result->{err} . sql('SELECT string_agg(reason, $$ $$) FROM steadytext_daemons')) =~ $words }), 'which says so')
            or diag $result->{err} . sql('SELECT string_agg(reason, $$ $$) FROM steadytext_daemons');
        unlike($result->{err} . sql('SELECT string_agg(t::text, $$ $$) FROM steadytext_daemons t') . $cluster->log, qr/sk-of-nobody/, 'without the key');
        $configure->($entries);
        ok($cluster->wait_for(sub { try_sql(call(q('Name a colour.', max_tokens => 2)))->{state} eq '' }, 60), 'with the right one it answers again') or diag sql('SELECT * FROM steadytext_daemons');
        ok($cluster->wait_for(sub { try_sql(q(SELECT steadytext_embed('again', use_cache => false)))->{state} eq '' }, 60), 'and embeds');
    } ],
    [ 'one token' => sub {
        is(sql(ex(q(completion_tokens || ' ' || finish_reason), 'Write a long story about a river.', '{"max_tokens": 1, "use_cache": false}')), '1 length', 'is one, and was cut there');
    } ],
    [ 'why it ended' => sub {
        my $ask = ex(q(finish_reason || ' ' || cached), 'Write a long story about a lake.', '{"max_tokens": 8}');
        is(sql($ask), 'length false', 'is told');
        is(sql($ask), 'length true', 'and is the same from the cache');
    } ],
    [ 'characters beyond ASCII' => sub {
        is(sql(q(SELECT steadytext_generate_json('Say it.', '{"type": "object", "properties": {"name": {"const": "José 日本語 😀"}}, "required": ["name"], "additionalProperties": false}',
            max_tokens => 64, use_cache => false)::jsonb ->> 'name')), 'José 日本語 😀', 'come back as they are');
        like(sql(call(q('Wer ist José? 日本語 😀', max_tokens => 8))), qr/\S/, 'and are asked');
    } ],
    [ 'nothing' => sub {
        refused('is no prompt', call(q(' ')), '22023', qr/prompt cannot be empty/i);
        refused('is no text to embed', q(SELECT steadytext_embed('')), '22023', qr/text cannot be empty/i);
        is(sql(q(SELECT steadytext_generate_json('Say nothing.', '{"type": "object", "properties": {"said": {"const": ""}}, "required": ["said"], "additionalProperties": false}', max_tokens => 32,
            use_cache => false)::jsonb ->> 'said' = '')), 't', 'may be said');
    } ],
    [ 'a cancel' => sub {
        ok(comes_to(0), 'while the engine is idle');
        # One that goes on has to finish it before the next call can tell how many are under way.
        my $session = $cluster->session->send(call("'Tell a story of a thousand pages.', max_tokens => " . ($engine{goes_on} ? 400 : 4000)));
        ok(comes_to(1), 'a call is under way');
        my $start = time;
        sql(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%thousand pages%' AND pid <> pg_backend_pid()));
        is($session->finish->{state}, '57014', 'is heard');
        ok($engine{goes_on} || comes_to(0), 'and the engine stops');
        note(sprintf 'after %.0f ms', 1000 * (time - $start));
        ok($cluster->poll_until(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use'), 0), 'no slot is in use');
    } ],
    [ 'two at once' => sub {
        ok(comes_to(0), 'while the engine is idle: what was cancelled before, it may have had to finish');
        my @sessions = map { $cluster->session->send(call("'Tell a long story about the number $_.', max_tokens => 300")) } 1 .. 2;
        ok(comes_to(2), 'are worked on at once');
        my @results = map { $_->finish } @sessions;
        is(scalar(grep { $_->{state} eq '' && $_->{out} =~ /\w/ } @results), 2, 'and both answered') or diag map { $_->{err} } @results;
    } ],
    [ 'how many tokens' => sub {
        is(sql(ex(q(prompt_tokens BETWEEN 6 AND 100, completion_tokens), 'Write a long story about a sea.', '{"max_tokens": 9, "use_cache": false}')), 't|9', 'an answer took is told');
        sql(q(SELECT count(*) FROM steadytext_generate_stream('Write a long story about a hill.', max_tokens => 9)));
        is(sql(ex(q(completion_tokens || ' ' || cached), 'Write a long story about a hill.', '{"max_tokens": 9}')), '9 true', 'of a stream too');
    } ],
    [ 'the models' => sub {
        is(sql(q(SELECT string_agg(DISTINCT model || ' ' || fingerprint, ', ' ORDER BY model || ' ' || fingerprint) FROM steadytext_models() WHERE served)),
            join(', ', map { "$_ http:$_" } sort @engine{qw(embedder model)}), 'are listed');
    } ],
);

sub check_engine {
    ($cluster, %engine) = @_;
    is(scalar @CALLS, 20, 'twenty calls');
    for my $call (@CALLS) {
        my ($what, $check) = @$call;
        subtest $what => sub { eval { $check->(); 1 } or fail($@); done_testing() };
    }
    return;
}

1;
