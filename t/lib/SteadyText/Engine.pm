# An OpenAI-compatible engine for tests: t/tools/openai_server.py in a process of its own.
#
#   my $engine = SteadyText::Engine->new(options => ['--key', 'sk-1']);  $engine->url; $engine->last->{body}{seed}; $engine->stop;
package SteadyText::Engine;

use strict;
use warnings;
use Carp qw(croak);
use HTTP::Tiny ();
use JSON::PP ();
use SteadyText::Cluster;

sub new {
    my ($class, %options) = @_;
    my $self = bless { owner => $$, scheme => (grep { $_ eq '--certificate' } @{ $options{options} // [] }) ? 'https' : 'http' }, $class;
    $self->{pid} = open my $output, '-|', 'python3', "$SteadyText::Cluster::ROOT/t/tools/openai_server.py", @{ $options{options} // [] }
        or croak "openai_server.py: $!";
    ($self->{port}) = (<$output> // '') =~ /^(\d+)$/ or croak 'openai_server.py did not start';
    $self->{output} = $output;
    return $self;
}

sub url { my ($self, $host) = @_; return "$self->{scheme}://" . ($host // '127.0.0.1') . ":$self->{port}/v1" }

sub ask {
    my ($self, $method, $path, $content) = @_;
    my $answer = HTTP::Tiny->new(verify_SSL => 0)->request($method, "$self->{scheme}://127.0.0.1:$self->{port}$path", { content => $content // '' });
    croak "$path: $answer->{status}" unless $answer->{success};
    return JSON::PP::decode_json($answer->{content});
}
sub last  { return $_[0]->ask('GET', '/last') }
sub count { my ($self, $what) = @_; return $self->ask('GET', '/stats')->{$what} // 0 }
sub busy  { my ($self, $times) = @_; return $self->ask('POST', "/busy/$times") }

# What the engine answers next: next(path => '/v1/models', times => 3, status => 503, body => {...}).
sub next { my ($self, %reply) = @_; return $self->ask('POST', '/next', JSON::PP::encode_json({ times => 1, %reply })) }

sub stop {
    my ($self) = @_;
    return unless $self->{pid} && $self->{owner} == $$;
    kill 'KILL', delete $self->{pid};
    close $self->{output};
    return;
}
sub DESTROY { local ($?, $@); $_[0]->stop; return }

1;
