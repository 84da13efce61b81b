# Streams survive what engines, and what stands before them, put between the pieces: nothing that was delivered is lost.
use strict;
use warnings;
use JSON::PP ();
use SteadyText::Cluster;
use SteadyText::Engine;
use Test::More;

my $engine  = SteadyText::Engine->new;
my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", sprintf "steadytext.daemons = '%s'", $engine->url ]);
my $json = JSON::PP->new->canonical;
ok($cluster->poll_until('SELECT state FROM steadytext_daemons', 'ready'), 'the engine is ready');

sub event { my ($data) = @_; return 'data: ' . (ref $data ? $json->encode($data) : $data) . "\n\n" }
sub piece { my ($text, $reason) = @_; return event({ choices => [ { index => 0, delta => { content => $text }, finish_reason => $reason } ] }) }
sub told { my (%reply) = @_; return '$p$!raw:' . $json->encode(\%reply) . '$p$' }
sub joined { my ($prompt) = @_; return $cluster->try_sql("SELECT string_agg(s, '|') FROM steadytext_generate_stream($prompt) s") }
my %usage = (usage => { prompt_tokens => 4, completion_tokens => 2, total_tokens => 6 });

for my $case (
    [ event({ choices => undef, %usage }),                      'counts with choices: null' ],
    [ event({%usage}),                                          'counts alone' ],
    [ event({ choices => [], %usage }),                         'counts without a choice' ],
    [ event({ choices => [undef] }),                            'a choice that is null' ],
    [ event({ choices => [ { index => 0, delta => undef } ] }), 'a delta that is null' ],
    [ event({ choices => [ { index => 0 } ] }),                 'a choice without a delta' ],
    [ event(''),                                                'data that is empty' ],
    [ "data\n\n",                                               'data without a colon' ],
    [ event('keep-alive'),                                      'a word to keep the connection alive' ],
    [ event({ type => 'ping' }),                                'JSON that is no completion' ],
    [ event('[]'),                                              'a list' ],
    [ event('null'),                                            'null' ],
    [ ": OPENROUTER PROCESSING\n\n",                            'a comment' ],
    [ "event: ping\n\n",                                        'an event without data' ],
    [ "retry: 100\nid: 7\n\n",                                  'other fields' ],
    [ event({ choices => [], prompt_filter_results => [ { prompt_index => 0 } ] }), 'what a filter says of the prompt' ],
    [ event({ object => 'x', message => 'all is well', choices => [] }),            'a message that is no error' ],
) {
    my ($odd, $what) = @$case;
    my $prompt = told(stream => [ $odd, piece('one'), $odd, piece(' two', 'stop'), $odd, event('[DONE]'), $odd ]);
    my $result = joined($prompt);
    is($result->{out}, 'one| two', "$what: all pieces come") or diag $result->{err};
    is($cluster->sql("SELECT response, cached FROM steadytext_generate_ex($prompt)"), 'one two|t', "$what: and are cached");
}
is($cluster->sql('SELECT prompt_tokens, completion_tokens FROM steadytext_generate_ex(' .
    told(stream => [ event({ choices => undef, %usage }), piece('one'), event({ choices => undef, %usage }), piece(' two', 'stop'),
        event({ choices => undef, %usage }), event('[DONE]'), event({ choices => undef, %usage }) ]) . ')'), '4|2', 'the counts are kept');
is(joined(told(stream => [ piece('whole', 'stop'), event('[DONE]') ], cut => 1))->{out}, 'whole', 'a connection that is cut after [DONE] loses nothing');
is(joined(told(stream => [ piece('whole', 'stop'), 'data:  [DONE]' . "\r\n\r\n" ]))->{out}, 'whole', 'white space before [DONE]');
is(joined(told(body => { choices => [ { message => { content => 'at once' }, finish_reason => 'stop' } ] }))->{out}, 'at once', 'an engine that does not stream');
is(joined(told(stream => [ piece('half a'), event('{"choices": [{') ]))->{state}, '08P01', 'what is damaged is an error still');
is(joined(told(stream => [ event({ type => 'ping' }) ]))->{state}, '08P01', 'and so is a stream without any choice');
is($cluster->sql('SELECT breaker FROM steadytext_daemons'), 'closed', 'the engine is none the worse');
done_testing;
