# Empty is not an answer: what engines send where a text should be, and what becomes of it.
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

sub chat { my ($message, $reason) = @_;
    return '$p$!raw:' . $json->encode({ body => { choices => [ { index => 0, message => { role => 'assistant', %$message }, finish_reason => $reason } ],
        usage => { prompt_tokens => 3, completion_tokens => 9 } } }) . '$p$' }
sub stream { my ($deltas, $reason) = @_;
    my @events = map { 'data: ' . $json->encode({ choices => [ { index => 0, delta => $_, finish_reason => undef } ] }) . "\n\n" } @$deltas;
    push @events, 'data: ' . $json->encode({ choices => [ { index => 0, delta => {}, finish_reason => $reason } ] }) . "\n\n", "data: [DONE]\n\n";
    return '$p$!raw:' . $json->encode({ stream => \@events }) . '$p$' }

# Each case: what stands beside the text, why the answer ended, and what the caller reads.
my @calls = ({ id => 'c', type => 'function', function => { name => 'f', arguments => '{}' } });
for my $case (
    [ { content => undef, reasoning_content => 'hm' }, 'length', qr/reasoning used up max_tokens before an answer began/, 'reasoning that took all tokens' ],
    [ { content => '', reasoning => 'hm' }, 'length', qr/reasoning used up max_tokens/, 'the same by another name' ],
    [ { content => '', reasoning_content => 'hm' }, 'stop', qr/reasoned and gave no answer/, 'reasoning alone' ],
    [ { content => "\n\n", reasoning_content => 'hm' }, 'stop', qr/reasoned and gave no answer/, 'reasoning and white space' ],
    [ { content => undef, tool_calls => \@calls }, 'tool_calls', qr/called a tool/, 'a call of a tool' ],
    [ { tool_calls => \@calls }, 'stop', qr/called a tool/, 'a call of a tool without content' ],
    [ { content => undef, refusal => 'I cannot help with that.' }, 'stop', qr/refused to answer: I cannot help with that\./, 'a refusal' ],
    [ { content => '' }, 'content_filter', qr/content filter/, 'a filter' ],
    [ { content => '' }, 'length', qr/max_tokens was used up/, 'no token left' ],
) {
    my ($message, $reason, $words, $what) = @$case;
    my $prompt = chat($message, $reason);
    my $result = $cluster->try_sql("SELECT steadytext_generate($prompt)");
    is($result->{state}, '38000', "$what is a failure") or diag "$result->{out} $result->{err}";
    like($result->{err}, $words, "$what: with its reason");
    is($cluster->sql("SET client_min_messages = error; SET steadytext.on_failure = 'fallback'; SELECT steadytext_generate($prompt)"), '[steadytext: no answer available]',
        "$what: on_failure rules");
    is($cluster->try_sql("SELECT steadytext_generate($prompt)")->{state}, '38000', "$what: it is not cached");
    my %delta = %$message;
    my $streamed = $cluster->try_sql(sprintf 'SELECT steadytext_generate_stream(%s)', stream([ \%delta ], $reason));
    is($streamed->{state}, '38000', "$what: as a stream too") or diag "$streamed->{out} $streamed->{err}";
    like($streamed->{err}, $words, "$what: with the same reason");
}
is($cluster->try_sql('SELECT steadytext_generate(' . chat({ content => undef }, 'stop') . ')')->{state}, '38000', 'no text at all is a failure');
is($cluster->sql('SELECT count(*) FROM steadytext_cache'), 0, 'nothing of it is cached');
is($cluster->sql('SELECT breaker FROM steadytext_daemons'), 'closed', 'and the engine has not failed');
is($cluster->sql('SELECT steadytext_generate(' . chat({ content => '' }, 'stop') . q{) = ''}), 't', 'a model may have nothing to say');

# Why an answer ended is the same from the caches, whatever the engine calls it.
for my $reason (qw(stop length eos content_filter tool_calls abort)) {
    my $prompt = chat({ content => "ended by $reason" }, $reason);
    my $ask = "SELECT response, cached, finish_reason FROM steadytext_generate_ex($prompt)";
    is($cluster->sql($ask), "ended by $reason|f|$reason", "$reason is told");
    is($cluster->sql($ask), "ended by $reason|t|$reason", "$reason from the hot cache");
    ok($cluster->poll_until("SELECT finish_reason FROM steadytext_cache WHERE response = 'ended by $reason'", $reason), "$reason in the table");
}
$cluster->restart;
ok($cluster->poll_until('SELECT state FROM steadytext_daemons', 'ready'), 'after a restart');
is($cluster->sql('SELECT cached, finish_reason FROM steadytext_generate_ex(' . chat({ content => 'ended by content_filter' }, 'content_filter') . ')'),
    't|content_filter', 'from the table');

# What a model thought is told, where it is asked for, and has room beside the answer.
{
    my $prompt = chat({ content => 'Rome', reasoning_content => 'Italy, so Rome.' }, 'stop');
    is($cluster->sql("SELECT response, reasoning FROM steadytext_generate_ex($prompt)"), 'Rome|Italy, so Rome.', 'what it thought is told');
    is($cluster->sql("SELECT response, cached, reasoning IS NULL FROM steadytext_generate_ex($prompt)"), 'Rome|t|t', 'and not kept in the cache');
    is($cluster->sql('SELECT steadytext_generate(' . chat({ content => [ { type => 'text', text => 'in ' }, { type => 'text', text => 'parts' } ] }, 'stop') . ')'),
        'in parts', 'a text in parts is put together');
    $cluster->append_conf(sprintf "steadytext.daemons = '%s reasoning_tokens=1000'", $engine->url);
    $cluster->reload;
    ok($cluster->wait_for(sub { $cluster->sql(q(SELECT steadytext_generate('room', max_tokens => 100, use_cache => false)));
        $engine->last->{body}{max_tokens} == 1100 }), 'reasoning_tokens= is added to what the caller allows');
}
done_testing;
