# What seed and max_tokens a call has that does not say: one rule for all functions. Left out: the default that the function declares; NULL, or where a
# function has no such argument: the setting. Each answer's row in the cache tells what it was made with.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ 'max_worker_processes = 20' ]);
my ($seed, $tokens) = (7, 9);  # the settings
$cluster->sql("SELECT steadytext_config_set('default_seed', '$seed'), steadytext_config_set('default_max_tokens', '$tokens')");

# The default that the catalogue has for an argument; nothing where there is none, or no such argument.
sub declared {
    my ($function, $argument) = @_;
    return $cluster->sql("SELECT substring(pg_get_function_arguments(p.oid) FROM '\\m$argument integer DEFAULT (\\d+)') FROM pg_proc p
        WHERE p.proname = 'steadytext_$function' AND p.pronamespace = 'public'::regnamespace LIMIT 1");
}
sub or_setting { my ($value, $setting) = @_; return $value eq '' ? $setting : $value }

# Of each function: a call that says nothing, one that says NULL; P stands for the text, a number, which tells the rows apart and, echoed, has every form.
my $documents = q(ARRAY['one', 'two']);
my @functions = (
    [ generate             => q(generate('P')),                       q(generate('P', seed => NULL, max_tokens => NULL)) ],
    [ generate_stream      => q(generate_stream('P')),                q(generate_stream('P', seed => NULL, max_tokens => NULL)) ],
    [ generate_json        => q(generate_json('P', '{"type": "integer"}'::jsonb)), q(generate_json('P', '{"type": "integer"}'::jsonb, seed => NULL, max_tokens => NULL)) ],
    [ generate_regex       => q(generate_regex('P', '[0-9]+')),     q(generate_regex('P', '[0-9]+', seed => NULL, max_tokens => NULL)) ],
    [ generate_choice      => q(generate_choice('P', ARRAY['P', 'other'])), q(generate_choice('P', ARRAY['P', 'other'], seed => NULL, max_tokens => NULL)) ],
    [ generate_cached      => q(generate_cached('P')),                q(generate_cached('P', seed => NULL, max_tokens => NULL)) ],
    [ generate_ex          => q(generate_ex('P')),                    q(generate_ex('P', '{"seed": null, "max_tokens": null}')) ],
    [ generate_batch       => q(generate_batch(ARRAY['P'])),          q(generate_batch(ARRAY['P'], max_tokens => NULL)) ],
    [ generate_async       => q(generate_async('P')),                 q(generate_async('P', max_tokens => NULL)) ],
    [ generate_batch_async => q(generate_batch_async(ARRAY['P'])),    q(generate_batch_async(ARRAY['P'], max_tokens => NULL)) ],
    [ generate_json_async  => q(generate_json_async('P', '{"type": "integer"}'::jsonb)), q(generate_json_async('P', '{"type": "integer"}'::jsonb, seed => NULL, max_tokens => NULL)) ],
    [ generate_regex_async => q(generate_regex_async('P', '[0-9]+')), q(generate_regex_async('P', '[0-9]+', seed => NULL, max_tokens => NULL)) ],
    [ generate_choice_async => q(generate_choice_async('P', ARRAY['P', 'other'])), q(generate_choice_async('P', ARRAY['P', 'other'], seed => NULL)) ],
    [ enqueue              => q(enqueue('generate', '{"prompt": "P"}')), q(enqueue('generate', '{"prompt": "P", "seed": null, "max_tokens": null}')) ],
    [ generate_prompt      => q(generate_prompt('of-a-text', '{"text": "P"}')), q(generate_prompt('of-a-text', '{"text": "P"}', seed => NULL, max_tokens => NULL)) ],
    [ try_generate         => q(try_generate('P')),                   q(try_generate('P', seed => NULL, max_tokens => NULL)) ],
    [ try_embed            => q(try_embed('P')),                      q(try_embed('P', seed => NULL)) ],
    [ embed                => q(embed('P')),                          q(embed('P', seed => NULL)) ],
    [ embed_cached         => q(embed_cached('P')),                   q(embed_cached('P', seed => NULL)) ],
    [ embed_batch          => q(embed_batch(ARRAY['P'])),             q(embed_batch(ARRAY['P'])) ],
    [ embed_async          => q(embed_async('P')),                    q(embed_async('P', seed => NULL)) ],
    [ embed_batch_async    => q(embed_batch_async(ARRAY['P'])),       q(embed_batch_async(ARRAY['P'])) ],
    [ rerank               => qq(rerank('P', $documents)),            qq(rerank('P', $documents, seed => NULL)) ],
    [ rerank_docs_only     => qq(rerank_docs_only('P', $documents)),  qq(rerank_docs_only('P', $documents, seed => NULL)) ],
    [ rerank_top_k         => qq(rerank_top_k('P', $documents, 2)),   qq(rerank_top_k('P', $documents, 2, seed => NULL)) ],
    [ rerank_batch         => qq(rerank_batch(ARRAY['P'], $documents)), qq(rerank_batch(ARRAY['P'], $documents, seed => NULL)) ],
    [ rerank_async         => qq(rerank_async('P', $documents)),      qq(rerank_async('P', $documents, seed => NULL)) ],
    [ rerank_batch_async   => qq(rerank_batch_async(ARRAY['P'], $documents)), qq(rerank_batch_async(ARRAY['P'], $documents, seed => NULL)) ],
);
my $called  = join ',', map { "steadytext_$_->[0]" } @functions;
my $missing = $cluster->sql("SELECT string_agg(DISTINCT p.proname, ' ') FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'steadytext_%'
    AND pg_get_function_arguments(p.oid) ~ '\\m(seed|max_tokens) ' AND p.proname !~ '^steadytext_(try_)?extract\$' AND p.proname <> ALL ('{$called}')");
is($missing, '', 'each function that has one of the arguments is called');

$cluster->sql(q(SELECT steadytext_prompt_create('of-a-text', '{{ text }}')));
my $number = 1000;
my %made;  # text => [ what, the function, whether the call said NULL ]
for my $function (@functions) {
    my ($name, @calls) = @$function;
    for my $says_null (0, 1) {
        my $text = ++$number;
        $made{$text} = [ "$name, " . ($says_null ? 'NULL' : 'left out'), $name, $says_null ];
        $cluster->sql('SELECT * FROM steadytext_' . $calls[$says_null] =~ s/\bP\b/$text/gr);
    }
}
ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_queue WHERE completed_at IS NULL OR status <> 'completed'), 0), 'what is queued is done') or diag $cluster->sql('SELECT request_type, status, error FROM steadytext_queue');
$cluster->sql('SELECT steadytext_frecency_refresh()');
for my $text (sort { $a cmp $b } keys %made) {
    my ($what, $name, $says_null) = @{ $made{$text} };
    my $has_tokens = $name =~ /^(?:try_)?generate|^enqueue/;
    my $expected = or_setting($says_null ? '' : declared($name, 'seed'), $seed) . '|' . ($has_tokens ? or_setting($says_null ? '' : declared($name, 'max_tokens'), $tokens) : '');
    is($cluster->sql("SELECT DISTINCT seed, generation_params ->> 'max_tokens' FROM steadytext_cache WHERE prompt = '$text'"), $expected, $what);
}
# A row of the value that was installed overrides no setting: whoever writes it is told, if the setting is another.
{
    my %setting = (default_seed => 'default_seed', default_max_tokens => 'default_max_tokens', cache_enabled => 'cache_enabled', cache_max_entries => 'cache_max_entries',
        cache_max_size_mb => 'cache_max_size');
    my %other = (cache_enabled => 'off');
    for my $key (sort keys %setting) {
        my $setting   = "steadytext.$setting{$key}";
        my $installed = $cluster->sql("SELECT value #>> '{}' FROM _steadytext.config_seed WHERE key = '$key'");
        my $other     = $other{$key} // $installed + 1;
        # Those of the keeper are of the whole server.
        my $is_servers = $cluster->sql("SELECT context = 'sighup' FROM pg_settings WHERE name = '$setting'") eq 't';
        my $set        = sub {
            my ($how) = @_;
            $cluster->sql($is_servers ? "ALTER SYSTEM $how; SELECT pg_reload_conf()" : "ALTER DATABASE steadytext $how");
            ok($cluster->poll_until("SELECT setting FROM pg_settings WHERE name = '$setting'", $how =~ /= (\w+)/ ? $1 : $cluster->sql("SELECT boot_val FROM pg_settings WHERE name = '$setting'")), "$setting: $how");
        };
        my $write = sub { my ($value) = @_; return $cluster->try_sql("SELECT steadytext_config_set('$key', '$value')")->{err} };
        my $told      = qr/NOTICE:.*"$key" does not count, for \Q$setting\E is \Q$other\E(?:MB)?\nDETAIL:  A row of the value that was installed, $installed, overrides no setting\.\nHINT:  Set \Q$setting\E itself/;
        $set->("SET $setting = $other");
        like($write->($installed), $told, "$key: the value that was installed does not count beside $setting = $other");
        my $counts = $key eq 'cache_enabled' ? 'false' : $installed + 2;
        is($write->($counts), '', '  another one does');
        $set->("RESET $setting");
        is($write->($installed), '', '  nor is there a word where the setting says the same');
    }
}

for my $key (qw(cache_ttl steadytext.cache_ttl)) {
    like($cluster->try_sql("SELECT steadytext_config_set('$key', '60')")->{err}, qr/"\Q$key\E" is no key of steadytext_config: the row changes nothing\nHINT:  Set steadytext\.cache_ttl itself/, "$key is a setting that has no key");
}
like($cluster->try_sql(q(SELECT steadytext_config_set('mine', '60')))->{err}, qr/"mine" is no setting of pg_steadytext/, 'mine is none');

done_testing;
